package fromapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

// listed returns n elements of JSON; a %d in the text becomes the index.
func listed(n int, text string) string {
	var all []string
	for i := range n {
		all = append(all, strings.ReplaceAll(text, "%d", fmt.Sprint(i)))
	}
	return strings.Join(all, ",")
}

func TestListsAndExpressionsAreBoundedWithoutTheSchemaToo(t *testing.T) {
	one := `{"object":{"name":"o","type":"secret"},"dataKey":"k%d"}`
	for name, c := range map[string]struct{ object, field string }{
		"objects":                   {several(listed(101, one)), "spec.data has 101"},
		"searches":                  {finding(listed(21, `{"match":{"prefix":"a"}}`)), "spec.dataFrom has 21"},
		"transforms of an output":   {minimal + `,"output":{"transform":[` + listed(17, `"trim"`) + `]}}}`, "spec.output.transform has 17"},
		"transforms of an object":   {several(`{"object":{"name":"o","type":"secret"},"dataKey":"k","transform":[` + listed(17, `"trim"`) + `]}`), "spec.data[0].transform has 17"},
		"an expression that counts": {finding(`{"match":{"regexp":"(a{30}){30}"}}`), "spec.dataFrom[0].match.regexp"},
		"a rewrite that counts":     {finding(`{"match":{"prefix":"a"},"rewrite":{"source":"a{1000}","target":"b"}}`), "spec.dataFrom[0].rewrite.source"},
		"a long target":             {finding(`{"match":{"prefix":"a"},"rewrite":{"source":"a","target":"` + strings.Repeat("$0", 129) + `"}}`), "spec.dataFrom[0].rewrite.target"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fromapi.Parse([]byte(c.object))
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.field)
		})
	}
	_, err := fromapi.Parse([]byte(several(listed(100, one))))
	assert.NoError(t, err)
}

func TestDataKeysThatLeadToAnotherFolderAreRefused(t *testing.T) {
	for _, key := range []string{".", "..", "..data", "..a", "..."} {
		for _, object := range []string{
			minimal + `,"output":{"secret":{"name":"s","dataKey":"` + key + `"}}}}`, minimal + `,"output":{"configMap":{"name":"s","dataKey":"` + key + `"}}}}`,
			several(`{"object":{"name":"o","type":"secret"},"dataKey":"` + key + `"}`),
		} {
			_, err := fromapi.Parse([]byte(object))
			assert.Equal(t, fault.Invalid, fault.KindOf(err), key)
			assert.ErrorContains(t, err, "dataKey")
		}
	}
	for _, key := range []string{".dockerconfigjson", ".a", "a..", "a.b", "-", "_..", "0"} {
		_, err := fromapi.Parse([]byte(minimal + `,"output":{"secret":{"name":"s","dataKey":"` + key + `"}}}}`))
		assert.NoError(t, err, key)
	}
}

func TestEmptyValuesAreAllowedOnlyWhereTheResourceSaysSo(t *testing.T) {
	r, err := fromapi.Parse([]byte(minimal + `,"output":{"allowEmpty":true,"secret":{"name":"s","dataKey":"k"}}}}`))
	require.NoError(t, err)
	assert.True(t, r.AllowEmpty)
	r, err = fromapi.Parse([]byte(minimal + `,"output":{"secret":{"name":"s","dataKey":"k"}}}}`))
	require.NoError(t, err)
	assert.False(t, r.AllowEmpty)
}
