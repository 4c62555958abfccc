package main

import (
	"bytes"
	"os"
	"path/filepath"
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

func verdict(t *testing.T, cell, log string) (int, string) {
	t.Helper()
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte("| What | Tests |\n|---|---|\n| a promise | "+cell+" |\n\n| Other | Table |\n|---|---|\n| x | y |\n"), 0o600))
	results, err := read(strings.NewReader(log))
	require.NoError(t, err)
	var out bytes.Buffer
	return judge([]string{page}, results, &out), out.String()
}

func TestEveryRowNeedsATestThatPassed(t *testing.T) {
	for cell, want := range map[string]int{
		"`src/a:TestGood`": 0, "`src/a:TestGood/a sentence, too`": 0, "`src/a:TestGood`, `src/a:TestBad`": 1, "`src/a:TestBad`": 1,
		"`src/a:TestNone`": 1, "": 1, "by hand": 1, "`tests/long/x:TestOther`": 0, "`tests/long/ran:TestMissing`": 1,
	} {
		got, said := verdict(t, cell, log)
		assert.Equal(t, want, got, "%s: %s", cell, said)
	}
}

func TestASkipNeedsAnAllowedReason(t *testing.T) {
	skip := func(reason string) string {
		return log + `{"Action":"output","Package":"p","Test":"TestS","Output":"x.go:1: ` + reason + `"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestS"}` + "\n"
	}
	got, _ := verdict(t, "`src/a:TestGood`", skip("only there; use CLUSTER=local"))
	assert.Equal(t, 0, got)
	got, said := verdict(t, "`src/a:TestGood`", skip("no time today"))
	assert.Equal(t, 1, got)
	assert.Contains(t, said, "TestS")
}

func TestATableWithoutRowsProvesNothing(t *testing.T) {
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

// TestEveryTestThatThePagesNameIsThere finds a renamed one before a whole run does. Subtests are known only when they
// ran.
func TestEveryTestThatThePagesNameIsThere(t *testing.T) {
	named := 0
	for _, folder := range []string{"reference", "security"} {
		pages, err := filepath.Glob("../../docs/" + folder + "/*.md")
		require.NoError(t, err)
		require.NotEmpty(t, pages)
		for _, page := range pages {
			content, err := os.ReadFile(page)
			require.NoError(t, err)
			for _, row := range tables(string(content)) {
				for _, test := range row.tests {
					named++
					assert.True(t, defined(t, test), "%s: the row %q names %s, which is not there", filepath.Base(page), row.name, test)
				}
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
