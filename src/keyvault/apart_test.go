package keyvault_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestErrorsKeepCauseAndAdviceApart checks the errors of these packages: advice after a semicolon in a cause belongs
// into Next.
func TestErrorsKeepCauseAndAdviceApart(t *testing.T) {
	seen := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		tree, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			first := map[string]int{"New": 1, "NewWithNextStep": 2, "Wrap": 2}[name.Sel.Name]
			if pkg, ok := name.X.(*ast.Ident); !ok || pkg.Name != "fault" || first == 0 || len(call.Args) <= first {
				return true
			}
			seen++
			ast.Inspect(call.Args[first], func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok {
					assert.NotContains(t, text.Value, ";", "%s: move the advice into Next", files.Position(text.Pos()))
				}
				return true
			})
			return true
		})
		return nil
	}))
	assert.Greater(t, seen, 40)
}
