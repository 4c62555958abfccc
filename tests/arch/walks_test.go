package arch

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// functionName is the name of a declaration with its package, as stack traces write it: package.Function,
// package.Type.Method or package.(*Type).Method.
func functionName(pkg string, f *ast.FuncDecl) string {
	if f.Recv == nil {
		return pkg + "." + f.Name.Name
	}
	receiver, pointer := f.Recv.List[0].Type, false
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver, pointer = star.X, true
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	of := "?"
	if name, ok := receiver.(*ast.Ident); ok {
		of = name.Name
	}
	if pointer {
		of = "(*" + of + ")"
	}
	return pkg + "." + of + "." + f.Name.Name
}

// declarationsOfSource has the files that declare each function and type of src, and the names of all packages.
func declarationsOfSource(t *testing.T) (files map[string][]string, packages map[string]bool) {
	t.Helper()
	files, packages = map[string][]string{}, map[string]bool{}
	for _, s := range sources(t, "src") {
		if s.test() {
			continue
		}
		packages[s.tree.Name.Name] = true
		ast.Inspect(s.tree, func(n ast.Node) bool {
			name := ""
			switch n := n.(type) {
			case *ast.FuncDecl:
				name = functionName(s.tree.Name.Name, n)
			case *ast.TypeSpec:
				name = s.tree.Name.Name + "." + n.Name.Name
			default:
				return true
			}
			files[name] = append(files[name], filepath.ToSlash(s.path))
			return false
		})
	}
	return files, packages
}

// TestFunctionsThatTheArchitectureNamesExist follows the walks of docs/architecture.md: a function that is renamed or
// moved takes its line in the page with it.
func TestFunctionsThatTheArchitectureNamesExist(t *testing.T) {
	content, err := os.ReadFile("../../docs/architecture.md")
	require.NoError(t, err)
	page := string(content)
	files, packages := declarationsOfSource(t)

	linked := regexp.MustCompile("\\[`([^`\n]+)`\\]\\(\\.\\./(src/[^)\\s]+\\.go)\\)").FindAllStringSubmatch(page, -1)
	require.Greater(t, len(linked), 30, "the page links functions to their files")
	for _, match := range linked {
		assert.Contains(t, files[match[1]], match[2], "the page links %s to %s", match[1], match[2])
	}

	function := regexp.MustCompile(`^([a-z]\w*)\.(?:(?:\(\*\w+\)|[A-Z]\w*)\.)?\w+$`)
	for _, match := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(page, -1) {
		parts := function.FindStringSubmatch(match[1])
		if parts == nil || !packages[parts[1]] || path.Ext(match[1]) == ".go" {
			continue
		}
		assert.Contains(t, files, match[1], "the page names %s", match[1])
	}
}

// TestWalksAreShort counts the numbered stops of each walk: the functions that a reader has to open.
func TestWalksAreShort(t *testing.T) {
	content, err := os.ReadFile("../../docs/architecture.md")
	require.NoError(t, err)
	for heading, most := range walks() {
		_, section, found := strings.Cut(string(content), "\n## "+heading+"\n")
		require.True(t, found, "docs/architecture.md has no section %q", heading)
		section, _, _ = strings.Cut(section, "\n## ")
		stops := regexp.MustCompile(`(?m)^\d+\. .*$`).FindAllString(section, -1)
		assert.Greater(t, len(stops), 10, heading)
		assert.LessOrEqual(t, len(stops), most, "%s: a reader opens too many functions; merge those that only forward", heading)
		for _, stop := range stops {
			assert.Regexp(t, "^\\d+\\. \\[`[^`]+`\\]\\(\\.\\./src/[^)]+\\.go\\)", stop, "each stop begins with a link to its function")
		}
	}
}
