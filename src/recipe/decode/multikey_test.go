package decode_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func multiKey(contentType string, transforms ...string) recipe.Recipe {
	return recipe.Recipe{Vault: "kv1", Items: []recipe.Item{{Name: "o", Type: decode.MultiKey, ContentType: "application/x-" + contentType, Transforms: transforms}}, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s"}}}
}

func TestEntriesKeepTheirText(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, in string
		want            map[string]string
	}{
		"JSON with a key of no Secret": {"json", `{"ü": 1}`, nil},
		"JSON strings as they are":     {"json", `{"a": "1", "b.c": "zwei\nlines", "empty": "", "html": "<&>"}`, map[string]string{"a": "1", "b.c": "zwei\nlines", "empty": "", "html": "<&>"}},
		"JSON scalars":                 {"json", `{"n": 1.50, "big": 12345678901234567890123, "t": true, "nothing": null}`, map[string]string{"n": "1.50", "big": "12345678901234567890123", "t": "true", "nothing": ""}},
		"JSON nested":                  {"json", `{"o": { "x" : [1, "<"] }, "l": [ ]}`, map[string]string{"o": `{"x":[1,"<"]}`, "l": "[]"}},
		"YAML scalars":                 {"yaml", "n: 1.50\noctal: 0777\nt: yes\nnothing: ~\nquoted: '1'\nblank:\n", map[string]string{"n": "1.50", "octal": "0777", "t": "yes", "nothing": "", "quoted": "1", "blank": ""}},
		"YAML text of many lines":      {"yaml", "key: |\n  one\n  two\n", map[string]string{"key": "one\ntwo\n"}},
		"YAML nested, and an alias":    {"yaml", "a: &x {k: [1, <]}\nb: *x\n", map[string]string{"a": `{"k":[1,"<"]}`, "b": `{"k":[1,"<"]}`}},
		"YAML that is JSON":            {"yaml", `{"a": "1"}`, map[string]string{"a": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := secretOf(multiKey(c.contentType), object(c.in))
			if c.want == nil {
				assert.Equal(t, fault.Malformed, fault.KindOf(err), "no key of a Secret")
				return
			}
			require.NoError(t, err)
			got := map[string]string{}
			for key, value := range data {
				got[key] = string(value.Reveal())
				variable, err := variableOf(multiKey(c.contentType), object(c.in), key)
				require.NoError(t, err)
				assert.Equal(t, got[key], string(variable.Reveal()), "a pod gets the same")
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestWhatIsUnusualIsKeptAll(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	var keys strings.Builder
	for n := range 900 {
		fmt.Fprintf(&keys, `"key-%04d-%s": %d, `, n, strings.Repeat("x", 12), n)
	}
	for _, c := range []struct {
		contentType, in, key, want string
		count                      int
	}{
		{"json", `{"deep": ` + deep + `}`, "deep", deep, 1},
		{"yaml", `deep: ` + deep, "deep", deep, 1},
		{"json", `{"a": 1, "a": 2}`, "a", "2", 1}, // as in 1.8, the last one wins
		{"json", "{" + keys.String() + `"last": 1}`, "key-0899-xxxxxxxxxxxx", "899", 901},
		{"yaml", "base: &b shared\nother: *b\n", "other", "shared", 2},
	} {
		data, err := secretOf(multiKey(c.contentType), object(c.in))
		require.NoError(t, err)
		assert.Len(t, data, c.count)
		assert.Equal(t, c.want, string(data[c.key].Reveal()))
	}
}

func TestEachEntryIsTransformed(t *testing.T) {
	data, err := secretOf(multiKey("json", "trim", "base64encode"), object(`{"a": " x ", "b": "y"}`))
	require.NoError(t, err)
	assert.Equal(t, "eA==", string(data["a"].Reveal()))
	assert.Equal(t, "eQ==", string(data["b"].Reveal()))
}

func TestWhatHoldsNoEntriesIsRefusedWithoutQuotingIt(t *testing.T) {
	var many, laughs strings.Builder
	many.WriteString(`{"canary0": 0`)
	laughs.WriteString("a0: &a0 [canary, canary, canary]\n")
	for n := range 1001 {
		fmt.Fprintf(&many, `, "k%d": 0`, n)
	}
	for n := range 12 {
		fmt.Fprintf(&laughs, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", n+1, n+1, n, n, n, n, n, n, n, n)
	}
	for name, c := range map[string]struct{ contentType, in string }{
		"a text": {"json", `"canary"`}, "a number": {"json", "1"}, "bytes that are no text": {"json", "{\"a\": \"canary\xff\"}"}, "YAML bytes that are no text": {"yaml", "a: canary\xff"},
		"levels without end":      {"json", `{"canary":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`},
		"YAML levels without end": {"yaml", `canary: ` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001)},
		"no JSON":                 {"json", "canary"}, "a list": {"json", `["canary"]`}, "null": {"json", "null"}, "cut off": {"json", `{"a": "canary`}, "two values": {"json", `{"a": "canary"} {}`},
		"no entries": {"json", "{}"}, "too many": {"json", many.String() + "}"}, "a key that is none": {"json", `{"can ary": "canary"}`}, "an empty key": {"json", `{"": "canary"}`},
		"no YAML": {"yaml", "canary: ["}, "a YAML list": {"yaml", "- canary"}, "a YAML text": {"yaml", "canary"}, "an empty document": {"yaml", ""}, "two documents": {"yaml", "a: canary\n---\nb: 1\n"},
		"a document of text after it": {"yaml", "a: canary\n---\nb\n"}, "binary that is none": {"yaml", "a: !!binary canary!\n"},
		"YAML where JSON is said": {"json", "a: canary"},
		"a key that is a list":    {"yaml", "[canary]: 1"}, "a merge of text": {"yaml", "<<: canary\na: 1\n"},
		"aliases without bound": {"yaml", laughs.String()}, "keys that JSON has not": {"yaml", "a: {[canary]: 1}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secretOf(multiKey(c.contentType), object(c.in))
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestAVariableNamesItsEntry(t *testing.T) {
	_, err := variableOf(multiKey("json"), object(`{"a": "canary"}`), "")
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "NAME@azurekeyvault?KEY")
	_, err = variableOf(multiKey("json"), object(`{"a": "canary"}`), "b")
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.ErrorContains(t, err, `no entry "b"`)
	assert.NotContains(t, err.Error(), "canary")
	_, err = variableOf(multiKey("json"), object("canary"), "b")
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	_, err = secretOf(multiKey("json", "base64decode"), object(`{"a": "canary!"}`))
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
}

// decoding is the budget of decoding one input. Outputs and their checks are copies of at most 6 MiB.
var decoding = fuzzbudget.Budget{Time: 3 * time.Second, Bytes: 64 << 20, PerByte: 3000}

func FuzzEntries(f *testing.F) {
	for _, seed := range []string{`{"a": 1}`, `{"a": {"b": []}}`, "a: &x 1\nb: *x\n", "a: |\n  x\n", "- 1", "? [a]\n: b\n", "\x00", "a: !!binary aGk=", "a: &a [*a]\n", "<<: [{a: 1}]\n", "a: 1\n---\n", "\ufeffa: 1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, content string, asJSON bool) {
		r := multiKey("yaml")
		if asJSON {
			r = multiKey("json")
		}
		var data map[string]keyvault.Value
		var err error
		fuzzbudget.Check(t, decoding, len(content), func() {
			data, err = secretOf(r, object(content))
			_, _ = variableOf(r, object(content), "a")
		})
		if err != nil {
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			return
		}
		for key := range data {
			assert.Regexp(t, `^[-._a-zA-Z0-9]{1,253}$`, key)
		}
	})
}
