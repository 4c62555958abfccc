package review_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/review"
)

// listKindOf is a JSON array with the item n times.
func listKindOf(item string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
}

// of is a review of an object with this spec.
func of(spec string) string { return `{"request":{"object":{"spec":` + spec + `}}}` }

func TestEachLimitHoldsAndIsNamed(t *testing.T) {
	two := func(first, second, item string, n int) string {
		return fmt.Sprintf(`{%q:%s,%q:%s}`, first, listKindOf(item, n/2), second, listKindOf(item, n-n/2))
	}
	for name, c := range map[string]struct {
		// body returns a review with n of the counted elements.
		body        func(n int) string
		limit       int
		of, tooMany string
	}{
		"levels": {func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}" }, limits.ReviewDepth, "review", "nested more than"},
		"keys and values of the object": {func(n int) string { return `{"request":{"object":{"a":` + listKindOf("1", n-2) + `}}}` }, limits.ReviewElements, "object",
			"keys and values"},
		"keys and values around it": {func(n int) string { return `{"request":{"options":{"a":` + listKindOf("1", n-7) + `}}}` }, limits.ReviewElements, "review",
			"keys and values"},
		"containers": {func(n int) string { return of(`{"containers":` + listKindOf("{}", n) + "}") }, limits.ReviewContainers, "object", "containers"},
		"containers of two kinds": {func(n int) string { return of(two("initContainers", "ephemeralContainers", "{}", n)) }, limits.ReviewContainers, "object",
			"containers"},
		"containers in other letters": {func(n int) string { return of(`{"CONTAINERS":` + listKindOf("{}", n) + "}") }, limits.ReviewContainers, "object", "containers"},
		"containers with an escape":   {func(n int) string { return of(`{"\u0063ontainers":` + listKindOf("{}", n) + "}") }, limits.ReviewContainers, "object", "containers"},
		"containers with a long s":    {func(n int) string { return of(`{"containerſ":` + listKindOf("{}", n) + "}") }, limits.ReviewContainers, "object", "containers"},
		"containers that are texts":   {func(n int) string { return of(`{"containers":` + listKindOf(`""`, n) + "}") }, limits.ReviewContainers, "object", "containers"},
		"containers after the object": {func(n int) string {
			return `{"request":{"object":{},"options":{"containers":` + listKindOf("{}", n) + "}}}"
		}, limits.ReviewContainers,
			"review", "containers"},
		"variables":              {func(n int) string { return of(two("env", "envFrom", "{}", n)) }, limits.ReviewVariables, "object", "environment variables"},
		"objects in other lists": {func(n int) string { return of(two("volumes", "env2", "{}", n)) }, limits.ReviewListItems, "object", "objects in lists"},
		"lists in other lists":   {func(n int) string { return of(two("volumes", "env2", "[]", n)) }, limits.ReviewListItems, "object", "objects in lists"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := review.Check([]byte(c.body(c.limit)))
			require.NoError(t, err)
			_, err = review.Check([]byte(c.body(c.limit + 1)))
			require.ErrorContains(t, err, "the "+c.of+" of the request ")
			assert.ErrorContains(t, err, c.tooMany)
			assert.ErrorContains(t, err, fmt.Sprint(c.limit))
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
		})
	}
	_, err := review.Check([]byte(of(`{"command":` + listKindOf(`"x"`, limits.ReviewListItems+1) + `}`)))
	assert.NoError(t, err, "texts in lists are counted as values alone")
}

func TestOnlyAJSONObjectIsAReview(t *testing.T) {
	for _, body := range []string{"", " ", "[]", `["a"]`, `"a"`, "7", "null", "true", "{", `{"a":1}{}`, "{a: 1}", "a: 1\n", "k8s\x00{}"} {
		_, err := review.Check([]byte(body))
		assert.Equal(t, fault.Invalid, fault.KindOf(err), body)
		assert.ErrorContains(t, err, "not a JSON object", body)
	}
}

func TestOnlyTheObjectsOfTheRequestAreDocuments(t *testing.T) {
	some := `{"containers":` + listKindOf("{}", 300) + `}`
	for name, body := range map[string]string{
		"an object outside of the request": `{"other":{"object":` + some + `},"request":{"object":` + some + `}}`,
		"another part of the request":      `{"request":{"options":{},"object":` + some + `,"userInfo":{}}}`,
		"an object in an object":           `{"request":{"object":{"object":{},"oldObject":{}}}}`,
		"an object that is null":           `{"request":{"object":` + some + `,"oldObject":null}}`,
	} {
		_, err := review.Check([]byte(body))
		assert.NoError(t, err, name)
	}
	size, err := review.Check([]byte(`{"request":{"object":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `,"uid":"late"}}`))
	require.Error(t, err)
	assert.Empty(t, size.UID, "nothing is read after a limit was exceeded")
}

func TestOnlyTheRequestsOwnUIDIsTaken(t *testing.T) {
	for body, uid := range map[string]string{
		`{"request":{"uid":"u-1","name":"n","object":{}},"other":{"uid":"x"}}`: "u-1",
		`{"request":{"name":"n"},"other":{"uid":"x"}}`:                         "",
		`{"request":{"names":["uid","x"]}}`:                                    "",
	} {
		size, err := review.Check([]byte(body))
		require.NoError(t, err, body)
		assert.Equal(t, uid, size.UID, body)
	}
}
