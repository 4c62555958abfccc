package arch

import (
	"encoding/json"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recipesPage is the page whose recipes are followed here.
const recipesPage = "../../docs/contributing/recipes.md"

// recipeSection is the text of one recipe of the page.
func recipeSection(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(recipesPage)
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "\n## "+heading+"\n")
	require.True(t, found, "%s has no recipe %q", recipesPage, heading)
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// followedRecipe is a recipe as it is followed in a test build: the repository stays as it is, and the compiler sees the
// new file and the longer registry in its place.
type followedRecipe struct {
	// heading of the recipe on the page.
	heading string
	// pkg is the package that gets the new files, which are in the folder files of testdata/recipes.
	pkg, files string
	// registry is the file with the registry; entry is the last one of its entries, and line what follows it now.
	registry, entry, line string
}

// build writes the overlay for go test, and returns its path.
func (r followedRecipe) build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	folder, replaced := t.TempDir(), map[string]string{}
	files, err := filepath.Glob(filepath.Join("testdata/recipes", r.files, "*.go"))
	require.NoError(t, err)
	require.Len(t, files, 2, "one new file, and its test")
	for _, file := range files {
		replaced[filepath.Join(root, r.pkg, filepath.Base(file))] = filepath.Join(root, "tests/arch", file)
	}
	registry, err := os.ReadFile(filepath.Join(root, r.registry))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(registry), r.entry), "%s has the registry", r.registry)
	longer := filepath.Join(folder, "registry.go")
	require.NoError(t, os.WriteFile(longer, []byte(strings.Replace(string(registry), r.entry, r.entry+r.line, 1)), 0o600))
	replaced[filepath.Join(root, r.registry)] = longer
	content, err := json.Marshal(map[string]any{"Replace": replaced})
	require.NoError(t, err)
	overlay := filepath.Join(folder, "overlay.json")
	require.NoError(t, os.WriteFile(overlay, content, 0o600))
	return overlay
}

// TestRecipesOfTypesAndKindsWork adds an object type and a kind of output with one file and one line each. They work at
// once, and the tests that the page names fail, because the schema and the docs lack them.
func TestRecipesOfTypesAndKindsWork(t *testing.T) {
	for _, r := range []struct {
		followedRecipe
		works string
	}{
		{followedRecipe{"An object type", "src/recipe/decode", "objecttype", "src/recipe/decode/objecttype.go", "multiKeyObject{}", ", flagObject{}"}, "TestTheNewTypeWorks"},
		{followedRecipe{"A kind of output", "src/controller/output", "outputkind", "src/controller/output/kinds.go", "{Secret, ConfigMap", ", Mirror"},
			"TestTheNewKindWorks|TestEveryKindOfOutputIsWrittenAndReadBack"},
	} {
		t.Run(r.heading, func(t *testing.T) {
			text, overlay := recipeSection(t, r.heading), r.build(t)
			assert.Contains(t, text, "`"+r.registry+":", "the recipe names the registry")
			var failing []string
			for _, m := range regexp.MustCompile("(?m)^- `"+r.pkg+":(Test\\w+)`").FindAllStringSubmatch(text, -1) {
				failing = append(failing, m[1])
			}
			require.NotEmpty(t, failing, "the recipe lists the tests that name the rest, each as - `%s:TestName`", r.pkg)
			cmd := exec.Command("go", "test", "-overlay="+overlay, "-v", "-run=^("+r.works+"|"+strings.Join(failing, "|")+")$", "./"+r.pkg)
			cmd.Dir = "../.."
			out, err := cmd.CombinedOutput()
			require.Error(t, err, string(out))
			for _, test := range strings.Split(r.works, "|") {
				assert.Regexp(t, "(?m)^--- PASS: "+test+" ", string(out))
			}
			for _, test := range failing {
				assert.Regexp(t, "(?m)^--- FAIL: "+test+" ", string(out), "it names what is left to do")
			}
		})
	}
}

// TestRecipesNameWhatIsThere finds each `PATH` and `PATH:NAME` of the page in the repository.
func TestRecipesNameWhatIsThere(t *testing.T) {
	page, err := os.ReadFile(recipesPage)
	require.NoError(t, err)
	named := regexp.MustCompile("`((?:src|tests|charts|docs)/[\\w./-]*)(?::(\\w+))?`").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(named), 20)
	for _, m := range named {
		path, name := filepath.Join("../..", m[1]), m[2]
		info, err := os.Stat(path)
		if !assert.NoError(t, err, "the page names %s", m[0]) || name == "" {
			continue
		}
		files := []string{path}
		if info.IsDir() {
			files, err = filepath.Glob(filepath.Join(path, "*.go"))
			require.NoError(t, err)
		}
		found := false
		for _, s := range sources(t, m[1]) {
			for _, file := range files {
				found = found || filepath.Join("../..", s.path) == file && declares(s.tree, name)
			}
		}
		assert.True(t, found, "the page names %s", m[0])
	}
}

// declares says whether a file has a function, method, type, variable or constant of the name.
func declares(file *ast.File, name string) bool {
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == name {
				return true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.Name == name {
						return true
					}
				case *ast.ValueSpec:
					for _, ident := range s.Names {
						if ident.Name == name {
							return true
						}
					}
				}
			}
		}
	}
	return false
}
