package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const log = `{"Action":"pass","Package":"github.com/akv2k8s/akv2k8s/src/a","Test":"TestGood"}
{"Action":"pass","Package":"github.com/akv2k8s/akv2k8s/src/a","Test":"TestGood/a_sentence,_too"}
{"Action":"fail","Package":"github.com/akv2k8s/akv2k8s/src/a","Test":"TestBad"}
{"Action":"skip","Package":"github.com/akv2k8s/akv2k8s/tests/long/x"}
{"Action":"pass","Package":"github.com/akv2k8s/akv2k8s/tests/long/ran","Test":"TestOther"}
`

// pageOf returns a page with one promise, which these tests prove.
func pageOf(tests ...string) page {
	return page{path: "page.md", promises: []promise{{"a", "A promise."}}, proofs: map[string][]string{"a": tests}}
}

func verdict(t *testing.T, p page, log string) (int, string) {
	t.Helper()
	results, err := read(strings.NewReader(log))
	require.NoError(t, err)
	var out bytes.Buffer
	return judge([]page{p}, results, &out), out.String()
}

func TestEveryPromiseNeedsATestThatPassed(t *testing.T) {
	for tests, want := range map[string]int{
		"src/a:TestGood": 0, "src/a:TestGood/a sentence, too": 0, "src/a:TestGood;src/a:TestBad": 1, "src/a:TestBad": 1,
		"src/a:TestNone": 1, "": 1, "by hand": 1, "tests/long/x:TestOther": 0, "tests/long/ran:TestMissing": 1,
	} {
		got, said := verdict(t, pageOf(strings.Split(tests, ";")...), log)
		assert.Equal(t, want, got, "%s: %s", tests, said)
	}
}

const text = `# Title

Not a promise.

- The first promise,
  in two lines. <!-- proof: first -->
- The second | [a link](x.md). <!-- proof: second -->

| Field | Meaning |
|---|---|
| a | a cell with \| in it <!-- proof: third --> |

- Not a promise.
`

func TestPromisesAreListItemsAndRowsWithAnID(t *testing.T) {
	promises, unproven := findPromises(text)
	assert.Equal(t, []promise{{"first", "The first promise, in two lines."}, {"second", `The second \| a link.`}, {"third", `a · a cell with \| in it`}}, promises)
	assert.Empty(t, unproven)
	_, unproven = findPromises(strings.ReplaceAll(text, " <!-- proof: second -->", "") + "\n| A | B |\n|---|---|\n| a | b |\n| c | d <!-- proof: x --> |\n")
	assert.Equal(t, []string{"- The second | [a link](x.md).", "| a | b |"}, unproven, "others of their list have one")
}

func TestIDsOfPagesAndProofsAgree(t *testing.T) {
	good := pageOf("src/a:TestGood")
	for says, p := range map[string]page{
		"two promises have the id a": {promises: append(good.promises, good.promises...), proofs: good.proofs},
		"has no test in docs/proofs": {promises: good.promises},
		"has no promise a":           {proofs: good.proofs},
		`the item "- x" has no id`:   {promises: good.promises, proofs: good.proofs, unproven: []string{"- x"}},
	} {
		got, said := verdict(t, p, log)
		assert.Equal(t, 1, got, says)
		assert.Contains(t, said, says)
	}
}

func TestTheIndexIsCurrent(t *testing.T) {
	pages, err := readPages("../..")
	require.NoError(t, err)
	content, err := os.ReadFile("../../" + indexPage)
	require.NoError(t, err)
	assert.Equal(t, renderIndex(pages), string(content), "run make generate")
}

func TestASkipNeedsAnAllowedReason(t *testing.T) {
	skip := func(reason string) string {
		return log + `{"Action":"output","Package":"p","Test":"TestS","Output":"x.go:1: ` + reason + `"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestS"}` + "\n"
	}
	got, _ := verdict(t, pageOf("src/a:TestGood"), skip("only there; use CLUSTER=local"))
	assert.Equal(t, 0, got)
	got, said := verdict(t, pageOf("src/a:TestGood"), skip("no time today"))
	assert.Equal(t, 1, got)
	assert.Contains(t, said, "TestS")
}

func TestNoPromisesProveNothing(t *testing.T) {
	var out bytes.Buffer
	assert.Equal(t, 1, judge(nil, outcomes{}, &out))
}

// A test that runs without the suite would make the ledger ask for the rest of the suite, too.
func TestEverySuiteRunsAsAWholeOrNotAtAll(t *testing.T) {
	files, err := filepath.Glob("../long/*/*_test.go")
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(content), "//go:build cluster\n"), "%s needs the tag cluster; a test without a cluster belongs elsewhere", file)
	}
}

// TestEveryTestOfTheProofsIsThere finds a renamed one before a whole run does. Subtests are known only when they ran.
func TestEveryTestOfTheProofsIsThere(t *testing.T) {
	pages, err := readPages("../..")
	require.NoError(t, err)
	named := 0
	for _, p := range pages {
		assert.Empty(t, p.problems())
		for id, tests := range p.proofs {
			for _, test := range tests {
				named++
				assert.True(t, defined(t, test), "docs/proofs: %s of %s names %s, which is not there", id, p.path, test)
			}
		}
	}
	assert.Greater(t, named, 300)
}

// defined says whether a test file of the package has the function.
func defined(t *testing.T, test string) bool {
	t.Helper()
	folder, function, _ := strings.Cut(test, ":")
	function, _, _ = strings.Cut(function, "/")
	files, err := filepath.Glob("../../" + folder + "/*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(content), "func "+function+"(") {
			return true
		}
	}
	return false
}

func TestARunOfSomeTestsIsJudgedByItsSkips(t *testing.T) {
	for reason, want := range map[string]int{"not allowed": 1, "use CLUSTER=local": 0} {
		file := filepath.Join(t.TempDir(), "log")
		require.NoError(t, os.WriteFile(file, []byte(`{"Action":"output","Package":"p","Test":"T","Output":"x.go:1: `+reason+`\n"}`+"\n"+
			`{"Action":"skip","Package":"p","Test":"T"}`+"\n"), 0o600))
		var out bytes.Buffer
		assert.Equal(t, want, run([]string{"skips", file}, &out), out.String())
		assert.Equal(t, want == 1, strings.Contains(out.String(), "p:T was skipped without a reason that is allowed"))
	}
	assert.Equal(t, 1, run([]string{"skips", filepath.Join(t.TempDir(), "absent")}, &bytes.Buffer{}))
}

// literalSkip matches the reason of a skip that is written where it is used.
var literalSkip = regexp.MustCompile(`(?s)\bt\.Skipf?\(\s*"((?:[^"\\]|\\.)*)"`)

// TestEverySkipHasAnAllowedReason reads the reasons in the code: most of these tests are not skipped here, and a reason
// that is not allowed would fail the whole run on another machine.
func TestEverySkipHasAnAllowedReason(t *testing.T) {
	count := 0
	for _, folder := range []string{"../../src", "../../tests"} {
		require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			for _, found := range literalSkip.FindAllStringSubmatch(string(content), -1) {
				count++
				assert.True(t, slices.ContainsFunc(allowedSkips(), func(allowed string) bool { return strings.Contains(found[1], allowed) }), "%s: %q is not an allowed reason", path, found[1])
			}
			return err
		}))
	}
	assert.Greater(t, count, 10, "the search finds what is there")
}
