package arch

import (
	"go/ast"
	"go/build/constraint"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// v1Folder has all code that exists for akv2k8s 1.8 alone, and v1Tag builds everything without it.
const (
	v1Folder = "src/v1compat/"
	v1Tag    = "nov1compat"
)

// v1Callers are the files that may use v1Folder. When it is deleted, they are deleted too; beside each lies a file
// with the tag, which replaces it.
func v1Callers() []string {
	return []string{
		"src/envinjector/v1.go", "src/broker/client/rollback_test.go", "tests/cluster/image/v1.go",
		"tests/e2e/v1_test.go",
	}
}

// usesV1 reports whether a file imports a package of v1Folder or names one by its path.
func usesV1(s source) bool {
	found := false
	ast.Inspect(s.tree, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		found = found || ok && literal.Kind == token.STRING && strings.Contains(literal.Value, v1Folder)
		return true
	})
	return found
}

// isBuilt evaluates the build constraint of a file: every tag is set, but for v1Tag, which is set if without.
func isBuilt(t *testing.T, s source, without bool) bool {
	t.Helper()
	for _, group := range s.tree.Comments {
		for _, comment := range group.List {
			if comment.Pos() > s.tree.Package || !constraint.IsGoBuild(comment.Text) {
				continue
			}
			expression, err := constraint.Parse(comment.Text)
			require.NoError(t, err, s.path)
			return expression.Eval(func(tag string) bool { return tag != v1Tag || without })
		}
	}
	return true
}

func TestCodeForV1HasFewCallers(t *testing.T) {
	var callers []string
	for _, s := range sources(t, "src", "tests") {
		if strings.HasPrefix(s.path, v1Folder) || s.folder() == "tests/arch" || !usesV1(s) {
			continue
		}
		callers = append(callers, s.path)
		assert.True(t, slices.Contains(v1Callers(), s.path), "%s uses %s; only v1Callers may", s.path, v1Folder)
		assert.True(t, isBuilt(t, s, false), "%s is built by default", s.path)
		assert.False(t, isBuilt(t, s, true), "%s needs the constraint !%s", s.path, v1Tag)
	}
	assert.ElementsMatch(t, v1Callers(), callers, "v1Callers lists a file that does not use %s", v1Folder)
}

func TestProgramsBuildWithoutV1(t *testing.T) {
	programs := []string{"./src/cmd/controller", "./src/cmd/envinjector"}
	linked := strings.Fields(string(goList(t, append([]string{"-deps", "-tags=" + v1Tag}, programs...)...)))
	require.Greater(t, len(linked), 50)
	for _, path := range linked {
		assert.NotContains(t, path, module+strings.TrimSuffix(v1Folder, "/"))
	}
	assert.Contains(t, deps(t, programs...), module+v1Folder+"ca", "without the tag it is linked")
	cmd := exec.Command("go", append([]string{"build", "-tags=" + v1Tag}, programs...)...) // compiles both, keeps none
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, string(out))
}
