package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

// discouraged is a word or phrase that is not plain English or not the field's term, and what to write in its place.
type discouraged struct {
	pattern *regexp.Regexp
	instead string
}

//go:embed words.txt
var wordList []byte

// readWords reads the word list: a regular expression, a tab and what to use in its place on each line. Lines that
// begin with # are comments.
func readWords(list []byte) (words []discouraged, err error) {
	lines := bufio.NewScanner(bytes.NewReader(list))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expression, instead, ok := strings.Cut(line, "\t")
		if !ok || strings.TrimSpace(instead) == "" {
			return nil, fmt.Errorf("words.txt:%d: want a regular expression, a tab and what to use instead", number)
		}
		pattern, err := regexp.Compile(`(?i)\b(?:` + expression + `)\b`)
		if err != nil {
			return nil, fmt.Errorf("words.txt:%d: %w", number, err)
		}
		words = append(words, discouraged{pattern: pattern, instead: strings.TrimSpace(instead)})
	}
	return words, lines.Err()
}

// checkWords looks for discouraged words in what users read: documents, the chart, examples, and the comments and
// texts of the programs.
func checkWords(_ context.Context, shop build.Builder) error {
	words, err := readWords(wordList)
	if err != nil {
		return err
	}
	var findings []error
	for _, start := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md", "docs", "charts",
		"examples", "src", "site/index.md"} {
		err := filepath.WalkDir(filepath.Join(shop.Root, start), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(shop.Root, path)
			if err != nil {
				return err
			}
			found, err := wordsInFile(filepath.ToSlash(name), path, words)
			findings = append(findings, found...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(findings...)
}

// wordsInFile returns an error for each discouraged word in a file. The glossary names such words, the files of
// docs/proofs have names of tests; both are left out.
func wordsInFile(name, path string, words []discouraged) ([]error, error) {
	if name == "docs/glossary.md" || strings.HasPrefix(name, "docs/proofs/") || strings.Contains(name, "/testdata/") {
		return nil, nil
	}
	switch filepath.Ext(name) {
	case ".md", ".yaml", ".tpl", ".txt":
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return wordsInText(name, 1, string(content), words), nil
	case ".go":
		if strings.HasSuffix(name, "_test.go") {
			return nil, nil
		}
		return wordsInGo(name, path, words)
	}
	return nil, nil
}

// quoted matches text in backticks, such as names of tests.
var quoted = regexp.MustCompile("`[^`\n]*`")

func wordsInText(name string, first int, text string, words []discouraged) (findings []error) {
	for i, line := range strings.Split(text, "\n") {
		prose := quoted.ReplaceAllString(line, "``")
		for _, word := range words {
			if found := word.pattern.FindString(prose); found != "" {
				findings = append(findings, fmt.Errorf("%s:%d: %q; use: %s", name, first+i, found, word.instead))
			}
		}
	}
	return findings
}

// wordsInGo reads comments and string literals.
func wordsInGo(name, path string, words []discouraged) (findings []error, err error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, group := range tree.Comments {
		for _, comment := range group.List {
			findings = append(findings, wordsInText(name, set.Position(comment.Pos()).Line, comment.Text, words)...)
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		if text, err := strconv.Unquote(literal.Value); err == nil {
			findings = append(findings, wordsInText(name, set.Position(literal.Pos()).Line, text, words)...)
		}
		return true
	})
	return findings, nil
}
