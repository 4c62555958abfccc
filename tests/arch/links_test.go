package arch

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// notOurs are folders with files of others, or with copies of ours.
func notOurs(folder string) bool {
	return slices.Contains([]string{".git", "dist", "node_modules", ".stage"}, folder)
}

// pages are the Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && notOurs(entry.Name()) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return nil
	}))
	require.Greater(t, len(all), 20)
	return all
}

// prose is a page without its code.
func prose(t *testing.T, page string) string {
	t.Helper()
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	text := regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(string(content), "")
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllStringFunc(text, func(code string) string { return strings.NewReplacer("[", "", "]", "", "(", "", ")", "").Replace(code) })
}

// anchors are what a link into a page can lead to: its headings, as GitHub names them.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	content, err := os.ReadFile(page)
	require.NoError(t, err)
	all := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(content), -1) {
		kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(heading[1])), "")
		all[strings.ReplaceAll(kept, " ", "-")] = true
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	link, followed := regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`), 0
	for _, page := range pages(t) {
		if filepath.Base(page) == "rbac.md" && strings.Contains(page, "generate") {
			continue // a part of docs/security/rbac.md, whose links hold there
		}
		for _, match := range link.FindAllStringSubmatch(prose(t, page), -1) {
			to, err := url.Parse(match[1])
			require.NoError(t, err, "%s: %s", page, match[1])
			if to.Scheme != "" {
				continue // others' pages come and go; no test depends on them
			}
			followed++
			target := page
			if to.Path != "" {
				target = filepath.Join(filepath.Dir(page), to.Path)
			}
			if _, err := os.Stat(target); !assert.NoError(t, err, "%s links to %s", page, match[1]) {
				continue
			}
			if to.Fragment != "" && strings.HasSuffix(target, ".md") {
				assert.Contains(t, anchors(t, target), to.Fragment, "%s links to %s", page, match[1])
			}
		}
	}
	assert.Greater(t, followed, 50, "links are found in the pages")
}

// Programs and notes tell users to look into docs/…; what they name is there.
func TestPagesThatTheProductNamesAreThere(t *testing.T) {
	named, found := regexp.MustCompile(`\bdocs/[\w/-]+\.md\b`), 0
	for _, folder := range []string{"src", "charts", "examples", "docs"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, page := range named.FindAllString(string(content), -1) {
				found++
				assert.FileExists(t, filepath.Join("../..", page), "%s names it", path)
			}
			return nil
		}))
	}
	assert.Greater(t, found, 10, "pages are named")
}
