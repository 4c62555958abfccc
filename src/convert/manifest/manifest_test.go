package manifest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/convert/manifest"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
)

func read(t *testing.T, content string) []*manifest.Document {
	t.Helper()
	documents, err := new(manifest.Reader).Read("f.yaml", []byte(content))
	require.NoError(t, err)
	return documents
}

func paths(fields []manifest.Field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Path())
	}
	return all
}

func TestDocumentsHaveTheirLines(t *testing.T) {
	documents := read(t, "# first\na: 1\n---\n# only a comment\n---\nb:\n  - c: 2\n--- {d: 3}\n---\nnull\n")
	require.Len(t, documents, 3)
	assert.Equal(t, 2, documents[0].Root().Get("a").Line())
	assert.Equal(t, 7, documents[1].Root().Get("b").Items()[0].Get("c").Line())
	assert.Equal(t, 8, documents[2].Root().Get("d").Line())
	assert.Equal(t, []int{1, 2, 3}, []int{documents[0].Number, documents[1].Number, documents[2].Number})
	text, err := documents[0].Text()
	require.NoError(t, err)
	assert.Equal(t, "# first\na: 1\n", text, "a document that passes through keeps its text")
}

func TestWhatIsNotReadIsKnown(t *testing.T) {
	doc := read(t, `
metadata: {name: n, labels: {"a/b": c, d: e}}
spec:
  list: [{x: 1, y: 2}, {z: {deep: 3}}]
  empty: {}
  none: []
  nothing: null
  extra: {k: {v: 1}}
`)[0]
	spec := doc.Root().Get("spec")
	assert.Equal(t, []string{"metadata", "spec"}, paths(doc.Unread()), "nothing was read")
	assert.Equal(t, "n", doc.Root().Get("metadata", "name").Text())
	assert.Equal(t, "1", spec.Get("list").Items()[0].Get("x").Text())
	assert.Equal(t, "c", doc.Root().Get("metadata", "labels", "a/b").Text())
	assert.Equal(t, []string{"metadata.labels.d", "spec.list[0].y", "spec.list[1]", "spec.empty", "spec.none", "spec.extra"},
		paths(doc.Unread()))
	assert.Empty(t, spec.Get("empty").Fields())
	assert.Empty(t, spec.Get("none").Items())
	spec.Get("extra").Discard()
	assert.Equal(t, []string{"metadata.labels.d", "spec.list[0].y", "spec.list[1]"}, paths(doc.Unread()))
	assert.Len(t, doc.LeafPaths(), 9)
	assert.Equal(t, `metadata.labels["a/b"]`, doc.Root().Get("metadata", "labels", "a/b").Path())
	assert.Empty(t, doc.Problems())
}

func TestValuesOfOtherTypesAreProblems(t *testing.T) {
	doc := read(t, "text: [1]\nlist: x\nfields: y\nbool: perhaps\nbelow: z\n")[0]
	root := doc.Root()
	assert.Empty(t, root.Get("text").Text())
	assert.Empty(t, root.Get("list").Items())
	assert.Empty(t, root.Get("fields").Fields())
	assert.Empty(t, root.Get("fields").TextMap())
	assert.False(t, root.Get("bool").Bool())
	assert.Empty(t, root.Get("below", "a", "b").Text())
	assert.Len(t, doc.Problems(), 5, "each is reported once")
	assert.Empty(t, doc.Unread())
}

func TestScalarsAreReadAsTheyAreWritten(t *testing.T) {
	root := read(t, "n: 010\nb: yes\ns: \"TRUE\"\nt: {a: 1, b: x}\nl: [a, 2]\nnothing: ~\n")[0].Root()
	assert.Equal(t, "010", root.Get("n").Text())
	assert.True(t, root.Get("s").Bool())
	assert.Equal(t, map[string]string{"a": "1", "b": "x"}, root.Get("t").TextMap())
	assert.Equal(t, []string{"a", "2"}, root.Get("l").Texts())
	assert.False(t, root.Get("nothing").Exists())
	assert.Nil(t, root.Get("nothing").TextMap())
	assert.Empty(t, root.Get("missing").Texts())
	assert.Zero(t, root.Get("missing").Line())
	assert.False(t, root.Get("missing").IsUnread())
	assert.Empty(t, manifest.Field{}.Get("a", "b").Peek())
}

func TestListsBecomeDocuments(t *testing.T) {
	documents := read(t, "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n")
	require.Len(t, documents, 2)
	assert.Equal(t, "items[1].kind", documents[1].Root().Get("kind").Path())
	assert.Equal(t, 5, documents[1].Line)
	text, err := documents[1].Text()
	require.NoError(t, err)
	assert.Equal(t, "kind: B\n", text)
	assert.Len(t, read(t, "kind: Settings\nitems: [{a: b}]\n"), 1, "only a List has documents as items")
}

func TestAliasesAndMergeKeysAreExpanded(t *testing.T) {
	root := read(t, "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [*a, {z: 4}]}\n")[0].Root()
	assert.Equal(t, "2", root.Get("b", "y").Text())
	assert.Equal(t, map[string]string{"x": "1", "y": "3"}, root.Get("c").TextMap())
	assert.Equal(t, map[string]string{"x": "1", "y": "2", "z": "4"}, root.Get("d").TextMap())
}

func TestNestedTextsHaveTheLinesOfTheFile(t *testing.T) {
	reader := new(manifest.Reader)
	documents, err := reader.Read("f.yaml", []byte("a: 1\nobjects: |\n  array:\n    - |\n      name: x\n      extra: y\nplain: 'k: v'\nempty: ''\n"))
	require.NoError(t, err)
	outer, err := reader.Nested(documents[0].Root().Get("objects"))
	require.NoError(t, err)
	inner, err := reader.Nested(outer.Root().Get("array").Items()[0])
	require.NoError(t, err)
	assert.Equal(t, "objects.array[0].name", inner.Root().Get("name").Path())
	assert.Equal(t, 5, inner.Root().Get("name").Line())
	inner.Root().Get("name").Text()
	assert.Equal(t, []string{"objects.array[0].extra"}, paths(inner.Unread()))
	plain, err := reader.Nested(documents[0].Root().Get("plain"))
	require.NoError(t, err)
	assert.Equal(t, 7, plain.Root().Get("k").Line())
	empty, err := reader.Nested(documents[0].Root().Get("empty"))
	require.NoError(t, err)
	assert.False(t, empty.Root().Exists())
}

func TestEditedDocumentsAreEncodedAgain(t *testing.T) {
	doc := read(t, "# kept\na: 1 # too\nb: {c: x}\n")[0]
	root := doc.Root()
	root.Get("a").SetText("two")
	root.Get("b").Remove("c")
	root.Get("b").Put("d", "true")
	root.PutBelow("e", "f", "g")
	root.PutBelow("e", "f", "h")
	root.Rename("b", "bb")
	root.Get("missing").Remove("x")
	text, err := doc.Text()
	require.NoError(t, err)
	assert.Equal(t, "# kept\na: two # too\nbb: {d: \"true\"}\ne:\n  f: h\n", text)
}

func TestBadInputNamesFileDocumentAndLine(t *testing.T) {
	const secret = "canary"
	for name, c := range map[string]struct{ content, says string }{
		"syntax":               {"a: 1\n---\nb: 2\nc: [" + secret + "\n", "f.yaml: document 2, line 4: "},
		"a tab":                {"a:\n\t- " + secret + "\n", "f.yaml: document 1, line 2: "},
		"two values of a key":  {"a: 1\nb: 2\na: " + secret + "\n", `f.yaml: document 1, line 3: the key "a" occurs twice`},
		"a key that is a list": {"? [" + secret + "]\n: 1\n", "f.yaml: document 1, line 1: a key is not a text"},
		"an unknown alias":     {"a: *b\n", "unknown anchor 'b'"},
		"an alias of itself":   {"a: &a [*a]\n", "contains it"},
		"a merge of a text":    {"a: {<<: " + secret + "}\n", "a merge key << needs a mapping"},
		"nesting":              {strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested more than 100 levels deep"},
		"more text":            {"a: 1\n...\nb: 2\n", "f.yaml: document 1, line 3: did not find expected <document start>"},
		"aliases of aliases":   {bomb(), "more than 2,000,000 keys"},
		"too many elements":    {"[" + strings.Repeat(",", limits.ConvertElements) + "]", "more than 2,000,000 keys"},
		"too many bytes":       {strings.Repeat("#", limits.ConvertBytes+1), "f.yaml: the input is larger than 16 MiB"},
		"too many documents":   {"kind: List\nitems:\n" + strings.Repeat("- {}\n", limits.ConvertDocuments+1), "more than 20,000 documents"},
		"no text":              {"\xff\xfe\x00", "f.yaml: document 1, line 1: "},
	} {
		_, err := new(manifest.Reader).Read("f.yaml", []byte(c.content))
		assert.ErrorContains(t, err, c.says, name)
		if err != nil {
			assert.NotContains(t, err.Error(), secret, name)
		}
	}
	assert.Equal(t, "f: document 2: bad", (&manifest.InputError{File: "f", Document: 2, Text: "bad"}).Error())
}

// bomb returns a small document whose aliases stand for a billion values.
func bomb() string {
	var out strings.Builder
	out.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&out, "a%d: &a%d [%s]\n", i, i, strings.Join([]string{alias, alias, alias, alias, alias, alias, alias, alias, alias, alias}, ","))
	}
	return out.String()
}

func TestLongPathsAreTruncated(t *testing.T) {
	key := strings.Repeat("é", 500)
	path := read(t, key+": 1\n")[0].Root().Get(key).Path()
	assert.Less(t, len(path), limits.ConvertPathBytes+10)
	assert.True(t, strings.HasSuffix(path, "…"))
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"a: 1\n---\nb: [x]\n", "a: &a {b: c}\nd: {<<: *a}\n", "kind: List\nitems: [{a: b}]\n", "a: |\n  b\n? c\n: d\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 16<<10 {
			return // too long for fuzzing
		}
		// Aliases can stand for all elements that are allowed, at 300 bytes each.
		budget := fuzzbudget.Budget{Time: 5 * time.Second, Bytes: 300 * limits.ConvertElements, PerByte: 4 << 10}
		fuzzbudget.Check(t, budget, len(content), func() {
			documents, err := new(manifest.Reader).Read("f", content)
			if err != nil {
				return
			}
			for _, doc := range documents {
				for _, field := range doc.Unread() {
					field.Discard()
				}
				if left := doc.Unread(); len(left) > 0 {
					t.Fatalf("%d fields are unread after all were discarded", len(left))
				}
				if _, err := doc.Text(); err != nil {
					t.Skip("the library can't write what it has read")
				}
			}
		})
	})
}
