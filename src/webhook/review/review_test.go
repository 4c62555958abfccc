package review_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/webhook/review"
)

// elements is the number of keys and values in a document, as encoding/json reads them.
func elements(t testing.TB, body []byte) int {
	t.Helper()
	decoder, count := json.NewDecoder(bytes.NewReader(body)), 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return count
		}
		require.NoError(t, err)
		if token != json.Delim('}') && token != json.Delim(']') {
			count++
		}
	}
}

func TestEveryKeyAndValueIsCounted(t *testing.T) {
	for _, body := range []string{`{}`, ` {"a":1}`, `{"a":[1,-2.5e3,true,false,null,"x",{},[],{"b":"\"}"}]}`, `{"a\\":{"b\"":["\\"]}}`, "{\"a\"\n:\t[ 1 , 2 ]\r}"} {
		size, err := review.Check([]byte(body))
		require.NoError(t, err, body)
		assert.EqualValues(t, len(body)*limits.ReviewMemoryFactor+elements(t, []byte(body))*limits.ReviewElementMemory, size.MemoryBytes, body)
	}
}

func TestTheUIDIsFoundInWhateverCanBeAnswered(t *testing.T) {
	for body, uid := range map[string]string{
		`{"request":{"uid":"u-1","object":{"uid":"other"}}}`:                        "u-1",
		`{"uid":"other","request":{"object":{"metadata":{"uid":"x"}},"uid":"u-2"}}`: "u-2",
		`{"request":{"uid":"u-3","object":{"spec":`:                                 "u-3",
		`{"request":{"uid":"` + strings.Repeat("x", 200) + `"}}`:                    "",
		`{"request":{"uid":7}}`:                                                     "",
		`{"request":{"uid":"u-4","object":` + strings.Repeat("[", 70) + `1`:         "u-4",
		`{"request":{"options":{"uid":"other"},"userInfo":{"uid":"other"}}}`:        "",
		`[{"request":{"uid":"other"}}]`:                                             "",
		`{"other":{"uid":"other"},"request":{"object":[{"uid":"x"}],"UID":"u-5"}}`:  "u-5",
	} {
		size, _ := review.Check([]byte(body))
		assert.Equal(t, uid, size.UID, body)
	}
}

func TestEachDocumentHasItsOwnLimits(t *testing.T) {
	containers := func(count int) string {
		return `{"spec":{"containers":[` + strings.TrimSuffix(strings.Repeat("{},", count), ",") + `]}}`
	}
	_, err := review.Check([]byte(`{"request":{"object":` + containers(500) + `,"oldObject":` + containers(500) + `}}`))
	require.NoError(t, err)
	_, err = review.Check([]byte(`{"request":{"object":` + containers(1) + `,"oldObject":` + containers(501) + `}}`))
	require.ErrorContains(t, err, "oldObject")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = review.Check([]byte(`{"request":{"object":{},"oldObject":{},"OldObject":{}}}`))
	require.ErrorContains(t, err, "second oldObject")
	_, err = review.Check([]byte(`{"request":{"object":{}},"Request":{"object":{}}}`))
	require.ErrorContains(t, err, "second object")
}

func TestMeasuringAllocatesNothingForWhatItFinds(t *testing.T) {
	body := []byte(`{"request":{"object":{"metadata":{"labels":{"a":""` + strings.Repeat(`,"b":"c"`, 90_000) + `}}}}}`)
	assert.LessOrEqual(t, testing.AllocsPerRun(3, func() { _, _ = review.Check(body) }), 50.0)
}

// FuzzCheck compares the scanner with encoding/json, with a budget for each input.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"request":{"uid":"u","object":{"spec":{"containers":[{"env":[{}]}]}},"oldObject":{}}}`, `{"a\u0062":"\ud800","c":[1e5,{}]}`, `{"a":"\\\""}`,
		"{a: &a [1], b: *a}", "k8s\x00", `{"request":{"object":{"a":1}},"request":{"object":2}}`, "[[[[", `{"":{"":{"":[]}}}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var size review.Result
		var err error
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 100}, len(body), func() { size, err = review.Check(body) })
		if err != nil {
			if len(err.Error()) > 300 {
				t.Fatalf("the error is %d bytes long", len(err.Error()))
			}
			return
		}
		if want := int64(len(body)*limits.ReviewMemoryFactor + elements(t, body)*limits.ReviewElementMemory); size.MemoryBytes != want {
			t.Fatalf("%q is counted as %d, not %d", body, size.MemoryBytes, want)
		}
	})
}
