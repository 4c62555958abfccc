package arch

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// shippedSources are the sources of src that are not tests or test support.
func shippedSources(t *testing.T) (all []source) {
	t.Helper()
	for _, s := range sources(t, "src") {
		if !s.test() && rooms()[strings.TrimPrefix(s.folder(), "src/")] != testOnly {
			all = append(all, s)
		}
	}
	return all
}

// logKeys are the arguments of a call in the places of keys, if the call writes a log line.
func logKeys(call *ast.CallExpr) (keys []ast.Expr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if pkg, ok := method.X.(*ast.Ident); ok && pkg.Name == "http" {
		return nil
	}
	pairs := call.Args
	switch method.Sel.Name {
	case "Info": // the message first
		pairs = pairs[min(1, len(pairs)):]
	case "Error": // logr has the error before the message, slog has not
		pairs = pairs[min(1+(len(pairs)+1)%2, len(pairs)):]
	case "WithValues":
	default:
		return nil
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		keys = append(keys, pairs[i])
	}
	return keys
}

// TestLogLinesShareTheirKeys keeps the keys of log lines in package logkey.
func TestLogLinesShareTheirKeys(t *testing.T) {
	seen := 0
	for _, s := range shippedSources(t) {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range logKeys(call) {
				if literal, ok := key.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					assert.Failf(t, "a log line spells its key", "%s:%d: use a key of package logkey for %s", s.path, s.line(key), literal.Value)
				}
				if shared, ok := key.(*ast.SelectorExpr); ok {
					if pkg, ok := shared.X.(*ast.Ident); ok && pkg.Name == "logkey" {
						seen++
					}
				}
			}
			return true
		})
	}
	assert.Greater(t, seen, 40, "the log lines were not found")
}

// TestConstructorsNameTheFieldThatIsMissing looks at each New that gets a Config and can fail.
func TestConstructorsNameTheFieldThatIsMissing(t *testing.T) {
	otherwise := map[string]string{
		"src/broker/client":        "its fields come from variables of the pod, and the errors name those",
		"src/injector/akvsclient":  "the same",
		"src/keyvault/credential":  "its fields depend on the method; the errors name variables",
		"src/keyvault/vaultclient": "its fields are settings that the parts check",
	}
	checked := 0
	for _, s := range shippedSources(t) {
		for _, declaration := range s.tree.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Name.Name != "New" || !getsConfig(f.Type) || f.Type.Results.NumFields() < 2 {
				continue
			}
			requires := false
			calls(source{set: s.set, tree: &ast.File{Name: s.tree.Name, Decls: []ast.Decl{f}}}, func(pkg, name string, _ int) {
				requires = requires || pkg == "fault" && name == "RequireFields"
			})
			if _, ok := otherwise[s.folder()]; ok {
				assert.False(t, requires, "%s is not an exception any more", s.folder())
				continue
			}
			assert.True(t, requires, "%s:%d: check the fields of the Config by fault.RequireFields", s.path, s.line(f))
			checked++
		}
	}
	assert.Greater(t, checked, 10)
}

func getsConfig(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if name, ok := p.Type.(*ast.Ident); ok && name.Name == "Config" {
			return true
		}
	}
	return false
}

// TestMetricsAreDeclaredInOnePlace keeps the metrics of a package together, so that their names, labels and help are
// found without a search: in metrics.go, or in a file that ends so.
func TestMetricsAreDeclaredInOnePlace(t *testing.T) {
	seen := 0
	for _, s := range shippedSources(t) {
		calls(s, func(pkg, name string, at int) {
			if pkg == "prometheus" && (strings.HasPrefix(name, "New") || strings.HasPrefix(name, "MustNew")) {
				seen++
				assert.True(t, strings.HasSuffix(s.path, "metrics.go"), "%s:%d: declare the metric in metrics.go", s.path, at)
			}
		})
	}
	assert.Greater(t, seen, 15)
}
