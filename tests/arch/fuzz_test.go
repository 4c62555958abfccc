package arch

import (
	"go/ast"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachFuzzTargetHasABudget wants fuzzbudget.Check in each target, or in a function of the same file that the target
// calls: a parser that takes a gigabyte for a kilobyte is broken, whatever it answers.
func TestEachFuzzTargetHasABudget(t *testing.T) {
	targets := 0
	for _, s := range sources(t, "src") {
		budgeted := map[string]bool{}
		functions := map[string]*ast.FuncDecl{}
		for _, declaration := range s.tree.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Body != nil {
				functions[f.Name.Name] = f
				budgeted[f.Name.Name] = callsBudget(f, nil)
			}
		}
		for name, f := range functions {
			if strings.HasPrefix(name, "Fuzz") && s.test() {
				targets++
				assert.True(t, callsBudget(f, budgeted), "%s: %s does not call fuzzbudget.Check", s.path, name)
			}
		}
	}
	require.Greater(t, targets, 15)
}

// callsBudget says whether a function calls fuzzbudget.Check, or one of the functions that do.
func callsBudget(f *ast.FuncDecl, budgeted map[string]bool) bool {
	found := false
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			pkg, ok := n.X.(*ast.Ident)
			found = found || ok && pkg.Name == "fuzzbudget" && n.Sel.Name == "Check"
		case *ast.Ident:
			found = found || budgeted[n.Name] && n.Name != f.Name.Name
		}
		return true
	})
	return found
}
