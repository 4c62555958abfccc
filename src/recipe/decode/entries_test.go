package decode_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

func TestNestedYAMLKeepsItsText(t *testing.T) {
	for in, want := range map[string]string{
		"1.10": "1.10", "010": `"010"`, "1e5": "1e5", "2026-11-28": `"2026-11-28"`, "2026-11-28T01:02:03Z": `"2026-11-28T01:02:03Z"`,
		"yes": `"yes"`, "no": `"no"`, "on": `"on"`, "0x1F": `"0x1F"`, "0o17": `"0o17"`, "1_000": `"1_000"`, "null": "null", "~": "null",
		"true": "true", "True": "true", "FALSE": "false", ".5": `".5"`, "+1": `"+1"`, "-0": "-0", ".inf": `".inf"`, ".nan": `".nan"`, "1:30": `"1:30"`,
		"'1.10'": `"1.10"`, "12345678901234567890123": "12345678901234567890123", "1.0000000000000000000001": "1.0000000000000000000001",
		"!!str 1": `"1"`, "!!int '3'": "3", "!!bool 'yes'": `"yes"`, "!own x": `"x"`, "<&>": `"<&>"`, `"\u00fc\n"`: `"ü\n"`,
	} {
		for shape, text := range map[string]struct{ in, want string }{
			"in a list":      {"a: [b, " + in + "]\n", `["b",` + want + "]"},
			"in a mapping":   {"a: {k: " + in + "}\n", `{"k":` + want + "}"},
			"behind a merge": {"base: &b\n  k: " + in + "\na:\n  <<: *b\n", `{"k":` + want + "}"},
		} {
			data, err := secretOf(multiKey("yaml"), object(text.in))
			require.NoError(t, err, "%s %s", in, shape)
			assert.Equal(t, text.want, string(data["a"].Reveal()), "%s %s", in, shape)
		}
	}
	data, err := secretOf(multiKey("yaml"), object("a: {z: 1, 010: {}, b: [], 1.0: x}\n"))
	require.NoError(t, err)
	assert.Equal(t, `{"z":1,"010":{},"b":[],"1.0":"x"}`, string(data["a"].Reveal()), "keys keep their text and order")
	data, err = secretOf(multiKey("yaml"), object("a: {k: 1, z: 2, k: 3}\n"))
	require.NoError(t, err)
	assert.Equal(t, `{"k":3,"z":2}`, string(data["a"].Reveal()), "of a key that is there twice the last value counts")
}

func TestEntriesAreReadAsVersion18ReadThem(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, in string
		want            map[string]string
	}{
		"JSON null is empty":            {"json", `{"a": null, "b": "null"}`, map[string]string{"a": "", "b": "null"}},
		"YAML null is empty":            {"yaml", "a: ~\nb: null\nc:\nd: 'null'\n", map[string]string{"a": "", "b": "", "c": "", "d": "null"}},
		"the last of equal JSON keys":   {"json", `{"a": "1", "a": "2"}`, map[string]string{"a": "2"}},
		"the last of equal YAML keys":   {"yaml", "a: 1\nb: 0\na: 2\n", map[string]string{"a": "2", "b": "0"}},
		"a merge key":                   {"yaml", "<<: {a: merged, b: merged}\na: own\n", map[string]string{"a": "own", "b": "merged"}},
		"a list of merge keys":          {"yaml", "<<: [{a: first}, {a: second, b: second}]\nc: own\n", map[string]string{"a": "first", "b": "second", "c": "own"}},
		"a merge key with an alias":     {"yaml", "b: &b {x: 1}\n<<: *b\n", map[string]string{"b": `{"x":1}`, "x": "1"}},
		"an alias":                      {"yaml", "a: &x s\nb: *x\n", map[string]string{"a": "s", "b": "s"}},
		"a trailing document marker":    {"yaml", "a: 1\n---\n", map[string]string{"a": "1"}},
		"a trailing end marker":         {"yaml", "a: 1\n...\n", map[string]string{"a": "1"}},
		"a leading marker and comments": {"yaml", "%YAML 1.1\n---\n# c\na: 1\n--- # end\n", map[string]string{"a": "1"}},
		"YAML with a byte-order mark":   {"yaml", "\ufeffa: 1\n", map[string]string{"a": "1"}},
		"JSON with a byte-order mark":   {"json", "\ufeff{\"a\": \"1\"}\r\n", map[string]string{"a": "1"}},
		"binary YAML":                   {"yaml", "a: !!binary aGk=\n", map[string]string{"a": "hi"}},
		"scalars":                       {"yaml", "a: 1.10\nb: 010\nc: 2026-11-28\nd: yes\ne: 1_000\n", map[string]string{"a": "1.10", "b": "010", "c": "2026-11-28", "d": "yes", "e": "1_000"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := secretOf(multiKey(c.contentType), object(c.in))
			require.NoError(t, err)
			got := map[string]string{}
			for key, value := range data {
				got[key] = string(value.Reveal())
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestUTF16IsNamed(t *testing.T) {
	for _, text := range []string{"\xff\xfe{\x00}\x00", "\xfe\xff\x00{\x00}", "{\x00\"\x00a\x00", "\x00{\x00\"\x00a"} {
		for _, contentType := range []string{"json", "yaml"} {
			_, err := secretOf(multiKey(contentType), object(text))
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			assert.ErrorContains(t, err, "UTF-16")
		}
	}
}

func TestAKeyThatNoSecretHoldsIsNamedAndAPodMayAskForOthers(t *testing.T) {
	for _, key := range []string{"ConnectionStrings:Default", "a b", "ü", ".", "..", "..data", "..a", strings.Repeat("k", 254), "/etc", "a/b"} {
		in := `{"` + key + `": "canary", "password": "p"}`
		for _, contentType := range []string{"json", "yaml"} {
			_, err := secretOf(multiKey(contentType), object(in))
			assert.Equal(t, fault.Malformed, fault.KindOf(err), key)
			assert.ErrorContains(t, err, key[:min(len(key), 80)])
			assert.ErrorContains(t, err, "rename it in the vault")
			assert.NotContains(t, err.Error(), "canary")
			for part, want := range map[string]string{"password": "p", key: "canary"} {
				got, err := variableOf(multiKey(contentType), object(in), part)
				require.NoError(t, err, "%s ?%s", contentType, part)
				assert.Equal(t, want, string(got.Reveal()))
			}
		}
	}
	for _, key := range []string{".a", ".dockerconfigjson", "a..b", "-", "_", "a.", "..."[:1] + "x"} {
		_, err := secretOf(multiKey("json"), object(`{"`+key+`": "v"}`))
		assert.NoError(t, err, key)
	}
}

func TestAnEmptyValueIsRefusedUnlessItIsAllowed(t *testing.T) {
	several, contents := dataOf(2, "x", nil)
	contents[1].Object = object("")
	for name, c := range map[string]struct {
		recipe   recipe.Recipe
		contents []decode.FetchedItem
		says     string
	}{
		"one object":              {recipeOf(decode.Secret, ""), contents0(recipeOf(decode.Secret, ""), ""), `secret "o"`},
		"one of several":          {several, contents, "object o1"},
		"what transforms make":    {transforming("trim"), contents0(transforming("trim"), " \n"), `secret "o"`},
		"a Docker configuration":  {recipeOf(decode.Secret, "kubernetes.io/dockerconfigjson"), contents0(recipeOf(decode.Secret, ""), ""), `secret "o"`},
		"a pair of name and word": {recipeOf(decode.Secret, "kubernetes.io/basic-auth"), contents0(recipeOf(decode.Secret, ""), ""), `secret "o"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secretData(t.Context(), c.recipe, c.contents)
			assert.ErrorIs(t, err, decode.ErrEmptyValue)
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
			assert.ErrorContains(t, err, "allowEmpty")
			c.recipe.AllowEmpty = true
			_, err = secretData(t.Context(), c.recipe, c.contents)
			assert.NotErrorIs(t, err, decode.ErrEmptyValue)
		})
	}
	data, err := secretOf(multiKey("json"), object(`{"a": ""}`))
	require.NoError(t, err, "an entry says what it is")
	assert.Zero(t, data["a"].Len())
	data, err = secretOf(recipeOf(decode.Secret, "kubernetes.io/basic-auth"), object(":"))
	require.NoError(t, err)
	assert.Len(t, data, 2)
	value, err := variableOf(recipeOf(decode.Secret, ""), object(""), "")
	require.NoError(t, err, "a pod gets what the vault has")
	assert.Zero(t, value.Len())
}

func contents0(r recipe.Recipe, value string) []decode.FetchedItem { return contents(r, object(value)) }
