package decode_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// allocated is how many bytes do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// encodings are n transforms that each add a third.
func encodings(n int) []string {
	return strings.Split(strings.TrimSuffix(strings.Repeat("base64encode,", n), ","), ",")
}

// dataOf is a resource that names one value n times.
func dataOf(n int, value string, transforms []string) (recipe.Recipe, []decode.FetchedItem) {
	r := recipe.Recipe{Vault: "kv1", MultipleItems: true, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s"}, {Kind: recipe.OutputConfigMap, Name: "c"}}}
	var contents []decode.FetchedItem
	for i := range n {
		item := recipe.Item{Name: fmt.Sprintf("o%d", i), Type: decode.Secret, DataKey: fmt.Sprintf("k%d", i), Transforms: transforms}
		r.Items = append(r.Items, item)
		contents = append(contents, decode.FetchedItem{Item: item, Object: object(value)})
	}
	return r, contents
}

func TestAnOutputIsBoundedWhileItGrows(t *testing.T) {
	kib := strings.Repeat("x", 1<<10)
	for name, c := range map[string]struct {
		count      int
		value      string
		transforms []string
		names      string
	}{
		"one value with 16 transforms, under 100 keys": {100, strings.Repeat("x", 25<<10), encodings(16), "object o0"},
		"values that are too large together":           {100, strings.Repeat("x", 25<<10), nil, "object o40"},
		"the last transform of the last value":         {90, kib, encodings(9), "object o7"},
	} {
		for _, kind := range []string{"Secret", "ConfigMap"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				r, contents := dataOf(c.count, c.value, c.transforms)
				output := secretData
				if kind == "ConfigMap" {
					output = configMapData
				}
				var err error
				used := allocated(func() { _, err = output(t.Context(), r, contents) })
				assert.Equal(t, fault.Malformed, fault.KindOf(err))
				assert.ErrorContains(t, err, c.names)
				assert.Less(t, used, uint64(40<<20))
			})
		}
	}
	r, contents := dataOf(40, strings.Repeat("x", 25<<10), nil)
	data, err := secretData(t.Context(), r, contents)
	require.NoError(t, err)
	assert.Len(t, data, 40, "what Kubernetes stores is made")
}

func TestKeysAndCertificatesCountForTheOutput(t *testing.T) {
	for typ, value := range map[recipe.ObjectType]string{decode.Key: strings.Repeat("x", 60<<10),
		decode.Certificate: strings.Repeat("x", 60<<10)} {
		r := recipe.Recipe{Vault: "kv1", MultipleItems: true, Outputs: []recipe.Output{{Kind: recipe.OutputSecret, Name: "s", KeyFormat: "jwk"}}}
		var contents []decode.FetchedItem
		for i := range 20 {
			item := recipe.Item{Name: "o", Type: typ, DataKey: fmt.Sprint("k", i)}
			o := object(value)
			if typ == decode.Certificate {
				o.Ref.Kind = keyvault.KindCertificate
			}
			r.Items, contents = append(r.Items, item), append(contents, decode.FetchedItem{Item: item, Object: o})
		}
		_, err := secretData(t.Context(), r, contents)
		assert.Equal(t, fault.Malformed, fault.KindOf(err), typ)
		assert.ErrorContains(t, err, "larger than 1 MiB in total", typ)
	}
}

func TestAnEntryOfManyCountsForTheOutput(t *testing.T) {
	r := multiKey("json", encodings(16)...)
	_, err := secretOf(r, object(`{"a": "`+strings.Repeat("x", 12<<10)+`"}`))
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	r = multiKey("json", encodings(8)...)
	var entries strings.Builder
	for n := range 200 {
		fmt.Fprintf(&entries, `"k%d": "%s",`, n, strings.Repeat("x", 600))
	}
	_, err = secretOf(r, object("{"+entries.String()+`"z": 1}`))
	assert.ErrorContains(t, err, "1 MiB in total")
}

func TestAVariableIsBoundedWhileItGrows(t *testing.T) {
	r := recipeOf(decode.Secret, "")
	r.Items[0].Transforms = encodings(16)
	var err error
	used := allocated(func() { _, err = variableOf(r, object(strings.Repeat("x", 500<<10)), "") })
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.ErrorContains(t, err, "too large")
	assert.Less(t, used, uint64(40<<20))
}

// certificatesWith are n certificates, each in a PFX of about that many rounds, and each without its key in another.
func certificatesWith(t *testing.T, n, rounds int) (withKey, public []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	encoder := pkcs12.Modern2023.WithIterations(rounds)
	both, err := encoder.Encode(key, cert, nil, "")
	require.NoError(t, err)
	alone, err := encoder.EncodeTrustStore([]*x509.Certificate{cert}, "")
	require.NoError(t, err)
	repeat := func(content []byte) []string {
		return slices.Repeat([]string{base64.StdEncoding.EncodeToString(content)}, n)
	}
	return repeat(both), repeat(alone)
}

func TestRoundsOfAllCertificatesOfAnOutputAreCounted(t *testing.T) {
	// A PFX with a key has three key derivations, one without a key has two.
	const rounds = limits.KeyDerivationRounds / 4
	withKey, public := certificatesWith(t, limits.OutputKeyDerivationRounds/rounds/2+1, rounds)
	of := func(values []string, typ recipe.ObjectType, secretType string) (recipe.Recipe, []decode.FetchedItem) {
		r := recipe.Recipe{Vault: "kv1", MultipleItems: true, Outputs: []recipe.Output{
			{Kind: recipe.OutputSecret, Name: "s", Type: secretType}, {Kind: recipe.OutputConfigMap, Name: "c"}}}
		var contents []decode.FetchedItem
		for i, value := range values {
			item := recipe.Item{Name: fmt.Sprintf("o%d", i), Type: typ, DataKey: fmt.Sprintf("k%d", i)}
			o := object(value)
			if typ == decode.Certificate {
				o.Ref.Kind = keyvault.KindSecret
			}
			r.Items, contents = append(r.Items, item), append(contents, decode.FetchedItem{Item: item, Object: o})
		}
		return r, contents
	}
	r, contents := of(withKey, decode.Certificate, "Opaque")
	_, err := secretData(t.Context(), r, contents)
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.ErrorContains(t, err, "with the files before it, it requires too many rounds of key derivation")
	assert.ErrorContains(t, err, "use several resources")

	r, contents = of(public, decode.Secret, "")
	_, err = configMapData(t.Context(), r, contents)
	assert.ErrorContains(t, err, "with the files before it", "also where private keys are searched")
}

func TestTheSearchForPrivateKeysIsBoundedForAllValues(t *testing.T) {
	r, contents := dataOf(2*limits.KeyScanBytes/limits.OutputBytes,
		base64.StdEncoding.EncodeToString([]byte(zipped(strings.Repeat("\n", limits.OutputBytes/2)))), nil)
	_, err := configMapData(t.Context(), r, contents)
	assert.ErrorContains(t, err, "too much nested encoding")
}

func TestDecodingEndsWithItsContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r, contents := dataOf(2, "x", nil)
	_, err := secretData(ended, r, contents)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = configMapData(ended, r, contents)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = decode.ExpandSearches(ended, searching(recipe.Search{Prefix: "shop"}), decodeEntries())
	assert.ErrorIs(t, err, context.Canceled)
}

// repeating is YAML whose aliases repeat a text exponentially.
func repeating(levels int, merge bool) string {
	var out strings.Builder
	out.WriteString("a0: &a0 {k: " + strings.Repeat("canary", 50) + "}\n")
	for n := range levels {
		aliases := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", n), 9), ", ")
		if merge {
			fmt.Fprintf(&out, "a%d: &a%d {<<: [%s], k%d: 1}\n", n+1, n+1, aliases, n)
			continue
		}
		fmt.Fprintf(&out, "a%d: &a%d [%s]\n", n+1, n+1, aliases)
	}
	return out.String()
}

func TestYAMLThatRepeatsItselfIsBounded(t *testing.T) {
	inputs := map[string]string{
		"aliases of aliases":      repeating(12, false),
		"merge keys of aliases":   repeating(12, true),
		"merge keys at the top":   repeating(12, true) + "<<: [*a12, *a12]\n",
		"one alias many times":    "a: &a " + strings.Repeat("canary", 800) + "\nb: [" + strings.Repeat("*a, ", 3000) + "]\n",
		"an alias of itself":      "a: &a [*a]\n",
		"a merge key of itself":   "a: &a {<<: *a, b: 1}\n",
		"a mapping many times":    "a: &a {" + strings.Repeat("kkkk: 1, ", 100) + "x: 1}\nb: [" + strings.Repeat("{<<: *a}, ", 5000) + "]\n",
		"a large document":        "a: " + strings.Repeat("x", limits.MultiKeyBytes) + "\n",
		"many small nodes":        "a: [" + strings.Repeat("1,", limits.MultiKeyBytes/2-10) + "]\n",
		"many keys":               strings.Repeat("k: 1\n", 20000),
		"many anchors":            "a: [" + strings.Repeat("&a 1,", 20000) + "]\n",
		"brackets that never end": "a: " + strings.Repeat("[", 9000),
		"braces in braces":        "a: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000),
		"lists in lists":          "a:\n" + strings.Repeat("- ", 5000) + "x\n",
		"questions":               strings.Repeat("? ", 5000),
		"one merge after another": "a: &a {k: 1}\n" + strings.Repeat("<<: *a\n", 15000),
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			var err error
			used := allocated(func() {
				_, err = secretOf(multiKey("yaml"), object(input))
				_, _ = variableOf(multiKey("yaml"), object(input), "a0")
			})
			if err != nil {
				assert.Equal(t, fault.Malformed, fault.KindOf(err))
				assert.NotContains(t, err.Error(), "canary")
			}
			assert.Less(t, used, uint64(160<<20), "%d bytes of input", len(input))
		})
	}
	for _, name := range []string{"aliases of aliases", "merge keys of aliases", "merge keys at the top", "one alias many times", "an alias of itself", "a merge key of itself"} {
		_, err := secretOf(multiKey("yaml"), object(inputs[name]))
		assert.Error(t, err, name)
	}
}

func TestTextsThatAliasesRepeatAreCountedBeforeTheyAreMade(t *testing.T) {
	var input strings.Builder
	input.WriteString("a: &a " + strings.Repeat("canary", 10_000) + "\n")
	for i := range 900 {
		fmt.Fprintf(&input, "k%d: *a\n", i)
	}
	var err error
	used := allocated(func() { _, err = secretOf(multiKey("yaml"), object(input.String())) })
	assert.Equal(t, fault.Malformed, fault.KindOf(err))
	assert.Less(t, used, uint64(20<<20), "all of them are 54 MB")
}

func TestNodesAndLevelsOfYAMLAreCounted(t *testing.T) {
	list := func(items int) string { return "a: [" + strings.Repeat("1,", items) + "1]\n" }
	nested := func(levels int) string {
		return "a: " + strings.Repeat("[", levels) + strings.Repeat("]", levels) + "\n"
	}
	mappings := func(levels int) string {
		return "a: " + strings.Repeat("{b: ", levels) + "1" + strings.Repeat("}", levels) + "\n"
	}
	const repeats, deep = "repeat too much", "nested more than 1000 levels"
	for name, c := range map[string]struct{ input, says string }{
		"as many nodes as are visited":   {list(limits.YAMLNodes - 10), ""},
		"more nodes than are visited":    {list(limits.YAMLNodes + 10), repeats},
		"merged fields are nodes too":    {"a: &a {" + strings.Repeat("b: 1, ", 1) + manyKeys(900) + "}\n" + "b:\n" + strings.Repeat("  - {<<: *a}\n", 30), repeats},
		"lists as deep as they may be":   {nested(limits.MultiKeyDepth), ""},
		"lists that are deeper":          {nested(limits.MultiKeyDepth + 5), deep},
		"mappings that are deeper":       {mappings(limits.MultiKeyDepth + 5), deep},
		"an alias of itself":             {"a: &a [*a]\n", deep},
		"a merge key of itself":          {"a: &a {<<: *a, b: 1}\n", deep},
		"merge keys in merge keys":       {"a: " + strings.Repeat("{<<: ", 600) + "{b: 1}" + strings.Repeat("}", 600) + "\n", deep},
		"a list of a merge key is a key": {"a: {<<: [1]}\n", "a key that is not plain text"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := secretOf(multiKey("yaml"), object(c.input))
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
		})
	}
}

// manyKeys are entries of a flow mapping.
func manyKeys(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "k%d: 1, ", i)
	}
	return out.String()
}

func TestAnObjectOfManyIsMeasuredBeforeItIsParsed(t *testing.T) {
	for _, contentType := range []string{"json", "yaml"} {
		input := object("{" + strings.Repeat(`"a": [], `, 100_000) + `"b": 1}`)
		var err error
		used := allocated(func() { _, err = secretOf(multiKey(contentType), input) })
		assert.ErrorContains(t, err, "larger than 128 KiB")
		assert.Less(t, used, uint64(4<<20))
	}
}

func TestExpensiveExpressionsAreRefusedBeforeTheyAreCompiled(t *testing.T) {
	for _, text := range []string{
		"a{1000}", "(a{100}){10}", "((a{10}){10}){10}", "(?:a?){300}", `\pL{500}`, "(abc|def){100}", "(?:a??|bc){70}", "(x+x+)+y{250}",
		"(?:" + strings.Repeat("[ab]", 60) + "){1000}", "(?:" + strings.Repeat("[ab]?", 45) + "){1000}",
	} {
		for _, s := range []recipe.Search{{Regexp: text}, {Prefix: "s", Source: text, Target: "k"}} {
			var err error
			used := allocated(func() { _, err = decode.ExpandSearches(t.Context(), searching(s), decodeEntries()) })
			assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
			assert.ErrorContains(t, err, "256 instructions", text)
			assert.Less(t, used, uint64(2<<20), text)
		}
	}
	for _, text := range []string{"^shop-(.*)$", "(?i)^(dev|test|prod)-[a-z0-9]{1,20}$", `^\pL+-\d{4}$`, ""} {
		_, err := recipe.CompileExpression(text)
		assert.NoError(t, err, text)
	}
}

// longNames are as many names of the longest kind as a large vault has.
func longNames(n int) []keyvault.Entry {
	var all []keyvault.Entry
	for i := range n {
		all = append(all, keyvault.Entry{Name: fmt.Sprintf("%s-%06d", strings.Repeat("a", 120), i)})
	}
	return all
}

func TestSearchesAreMeasuredAgainstTheVaultsNames(t *testing.T) {
	expensive := recipe.Search{Regexp: "(a*)*(a{100}|b)(a*)*b$"}
	_, err := decode.ExpandSearches(t.Context(), searching(expensive, expensive, expensive), longNames(2000))
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "too expensive for the 2000 secrets")
	rewriting := recipe.Search{Prefix: "a", Source: expensive.Regexp, Target: "k"}
	_, err = decode.ExpandSearches(t.Context(), searching(rewriting, rewriting, rewriting), longNames(2000))
	assert.ErrorContains(t, err, "too expensive", "a rewrite costs as much")
	quadratic := recipe.Search{Prefix: "a", Source: "(a.*z)|a|" + strings.Repeat("(b.*y)|", 12) + "c", Target: "k"}
	_, err = decode.ExpandSearches(t.Context(), searching(quadratic), longNames(limits.FoundSecrets))
	assert.ErrorContains(t, err, "too expensive", "each match of a rewrite is counted")
	each := recipe.Search{Prefix: "a", Source: "a", Target: "b"}
	_, err = decode.ExpandSearches(t.Context(), searching(each), longNames(limits.FoundSecrets))
	assert.NoError(t, err, "a rewrite of every letter serves as many secrets as a resource has")
	var prefixes []recipe.Search
	for range limits.DataFromSearches {
		prefixes = append(prefixes, recipe.Search{Prefix: "a", Tags: map[string]string{"t": "none"}})
	}
	_, err = decode.ExpandSearches(t.Context(), searching(prefixes...), longNames(20_000))
	assert.Equal(t, fault.NotFound, fault.KindOf(err), "a prefix costs next to nothing")
	_, err = decode.ExpandSearches(t.Context(), searching(recipe.Search{Regexp: "^b-(.*)$"}), longNames(20_000))
	assert.Equal(t, fault.NotFound, fault.KindOf(err), "an ordinary expression serves the largest vault")
}

func TestARewriteThatRepeatsItsMatchIsBounded(t *testing.T) {
	for _, s := range []recipe.Search{
		{Prefix: "a", Source: "^(.*)$", Target: strings.Repeat("$1", 120)},
		{Prefix: "a", Source: "", Target: ""},
		{Prefix: "a", Source: "x*", Target: strings.Repeat("${0}y", 50)},
		{Prefix: "a", Source: "(.)", Target: strings.Repeat("${1}", 60)},
	} {
		var err error
		used := allocated(func() { _, err = decode.ExpandSearches(t.Context(), searching(s), longNames(1)) })
		assert.Less(t, used, uint64(2<<20))
		if s.Source != "" {
			assert.Equal(t, fault.Malformed, fault.KindOf(err))
			assert.ErrorContains(t, err, "spec.dataFrom[0].rewrite")
		}
	}
}
