package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

func TestWords(t *testing.T) {
	words, err := readWords([]byte("# a comment\n\nanew\tagain\nlooks? (?:at|for) the vault\tread the vault\n"))
	require.NoError(t, err)
	require.Len(t, words, 2)

	t.Run("a discouraged word is found with its line and its alternative", func(t *testing.T) {
		found := wordsInText("docs/a.md", 10, "fine\nIt Looks at the vault.\nRenewed canewx.", words)
		require.Len(t, found, 1)
		assert.EqualError(t, found[0], `docs/a.md:11: "Looks at the vault"; use: read the vault`)
	})
	t.Run("names in backticks are left alone", func(t *testing.T) {
		assert.Empty(t, wordsInText("docs/a.md", 1, "see `tests/x:TestAnew/anew`", words))
	})
	t.Run("comments and texts of programs are read, names and tests are not", func(t *testing.T) {
		root := t.TempDir()
		for _, folder := range []string{"docs", "charts", "examples", "src", "site"} {
			require.NoError(t, os.Mkdir(filepath.Join(root, folder), 0o700))
		}
		for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md", "site/index.md"} {
			require.NoError(t, os.WriteFile(filepath.Join(root, name), nil, 0o600))
		}
		program := "package a\n\n// anew begins again, as predecessor did.\nfunc anew() string { return \"the predecessor\" }\n"
		require.NoError(t, os.WriteFile(filepath.Join(root, "src/a.go"), []byte(program), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(root, "src/a_test.go"), []byte(program), 0o600))
		err := checkWords(t.Context(), build.Builder{Root: root})
		require.Error(t, err)
		assert.Regexp(t, `src/a\.go:3: "predecessor"`, err.Error())
		assert.Regexp(t, `src/a\.go:4: "predecessor"`, err.Error())
		assert.NotContains(t, err.Error(), "a_test.go")
	})
	t.Run("a bad line is an error", func(t *testing.T) {
		_, err := readWords([]byte("anew again\n"))
		assert.EqualError(t, err, "words.txt:1: want a regular expression, a tab and what to use instead")
		_, err = readWords([]byte("(\tx\n"))
		assert.ErrorContains(t, err, "words.txt:1")
	})
}
