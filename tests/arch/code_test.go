package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source is one file of Go, parsed.
type source struct {
	// path from the repository's root.
	path  string
	lines int
	set   *token.FileSet
	tree  *ast.File
}

func (s source) folder() string { return filepath.ToSlash(filepath.Dir(s.path)) }
func (s source) test() bool     { return strings.HasSuffix(s.path, "_test.go") }
func (s source) line(n ast.Node) int {
	return s.set.Position(n.Pos()).Line
}

// sources are the hand-written files of the folders.
func sources(t *testing.T, folders ...string) []source {
	t.Helper()
	var all []source
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasPrefix(entry.Name(), "zz_generated") {
				return err
			}
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			name, err := filepath.Rel("../..", path)
			all = append(all, source{path: name, set: set, tree: tree, lines: set.File(tree.Pos()).LineCount()})
			return err
		}))
	}
	require.NotEmpty(t, all)
	return all
}

// calls visits each pkg.Name that a file uses.
func calls(s source, visit func(pkg, name string, at int)) {
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := selector.X.(*ast.Ident); ok {
				visit(pkg.Name, selector.Sel.Name, s.line(n))
			}
		}
		return true
	})
}

func TestPureRoomsTouchNothing(t *testing.T) {
	for _, room := range pureRooms() {
		for _, s := range sources(t, "src/"+room) {
			if s.test() || s.folder() != "src/"+room {
				continue
			}
			for _, imported := range s.tree.Imports {
				path := strings.Trim(imported.Path.Value, `"`)
				for _, banned := range []string{"net", "net/http", "os/exec", "os/signal", "github.com/Azure"} {
					assert.False(t, path == banned || strings.HasPrefix(path, banned+"/") && strings.Contains(banned, "."), "%s imports %s", s.path, path)
				}
			}
			calls(s, func(pkg, name string, at int) {
				banned := pkg == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ReadFile", "Open"}, name) || pkg == "time" && name == "Now"
				assert.False(t, banned, "%s:%d uses %s.%s", s.path, at, pkg, name)
			})
		}
	}
}

func TestProgramsAloneStartAndEndThings(t *testing.T) {
	for _, s := range sources(t, "src") {
		if s.test() || strings.HasPrefix(s.path, "src/testkit") {
			continue
		}
		program := strings.Contains(s.path, "/cmd/")
		calls(s, func(pkg, name string, at int) {
			what := pkg + "." + name
			if what == "os.Exit" {
				assert.Equal(t, "main.go", filepath.Base(s.path), "%s:%d: only main.go ends the program", s.path, at)
			}
			if what == "context.Background" || what == "context.TODO" {
				assert.True(t, program, "%s:%d uses %s; take the caller's context", s.path, at, what)
			}
		})
		for _, declaration := range s.tree.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				assert.False(t, f.Name.Name == "init" && f.Recv == nil, "%s has an init function", s.path)
			}
		}
		if s.tree.Name.Name == "main" && filepath.Base(s.path) == "main.go" {
			assert.LessOrEqual(t, s.lines, maxMain, s.path)
		}
	}
}

// parameters counts them without the context, which every function that waits has.
func parameters(f *ast.FuncType) int {
	count := f.Params.NumFields()
	for _, p := range f.Params.List {
		if selector, ok := p.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "Context" {
			count -= len(p.Names)
		}
	}
	return count
}

func TestBudgets(t *testing.T) {
	lines, files := map[string]int{}, map[string]int{}
	for _, s := range sources(t, "src", "tests/cluster", "tests/stage", "tests/run", "tests/demo", "tests/ledger") {
		if s.test() {
			assert.LessOrEqual(t, s.lines, maxTestFile, s.path)
			continue
		}
		assert.LessOrEqual(t, s.lines, maxFile, s.path)
		lines[s.folder()] += s.lines
		files[s.folder()]++
		for _, declaration := range s.tree.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			assert.LessOrEqual(t, statements(f.Body), maxStatements, "%s: %s", s.path, f.Name.Name)
			assert.LessOrEqual(t, parameters(f.Type), maxParameters,
				"%s: %s has too many parameters; make a struct", s.path, f.Name.Name)
		}
	}
	for folder := range lines {
		assert.LessOrEqual(t, lines[folder], maxPackage, folder)
		assert.LessOrEqual(t, files[folder], maxFiles, folder)
	}
}

// statements counts those of a body, with those of the blocks and function literals in it.
func statements(body *ast.BlockStmt) int {
	count := 0
	ast.Inspect(body, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
		case ast.Stmt:
			count++
		}
		return true
	})
	return count
}

// TestLinesFitTheirWidth leaves out what can't be broken: texts over several lines, long literals, and comments for programs.
func TestLinesFitTheirWidth(t *testing.T) {
	for _, s := range sources(t, "src", "tests") {
		if s.test() {
			continue
		}
		content, err := os.ReadFile(filepath.Join("../..", s.path))
		require.NoError(t, err)
		unbreakable := map[int]bool{}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			raw := ok && strings.HasPrefix(literal.Value, "`")
			if ok && literal.Kind == token.STRING && (raw || len(literal.Value) > longLiteral) {
				for line := s.line(n); line <= s.set.Position(n.End()).Line; line++ {
					unbreakable[line] = true
				}
			}
			return true
		})
		for i, line := range strings.Split(string(content), "\n") {
			width := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
			if width <= maxWidth || unbreakable[i+1] || strings.Contains(line, "// +kubebuilder:") {
				continue
			}
			assert.Failf(t, "a line is too wide", "%s:%d has %d characters, more than %d", s.path, i+1, width, maxWidth)
		}
	}
}

// TestNoKeysInSource looks for private keys and tokens in literals: they are made in tests, or lie in testdata.
func TestNoKeysInSource(t *testing.T) {
	for _, s := range sources(t, "src", "tests") {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				key, jwt := "PRIVATE KEY-----"+`\n`, "eyJ"+"hbGciOi" // in two parts, or they would be found here
				assert.False(t, strings.Contains(literal.Value, key) || strings.Contains(literal.Value, jwt), "%s:%d", s.path, s.line(n))
			}
			return true
		})
	}
}

// TestNamesSayWhatIsDone counts the functions and methods that are named by one bare word, such as look or turn: a
// reader has to open them to know what they do.
func TestNamesSayWhatIsDone(t *testing.T) {
	clear := []string{"main", "init", "run", "parse", "get", "put", "add", "remove", "read", "write", "close", "len", "size", "equal"}
	unexported, bare := 0, []string{}
	for _, s := range sources(t, "src") {
		if s.test() || strings.HasPrefix(s.path, "src/emulator") || strings.HasPrefix(s.path, "src/testkit") {
			continue
		}
		for _, declaration := range s.tree.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Name.IsExported() {
				continue
			}
			unexported++
			if strings.ToLower(f.Name.Name) == f.Name.Name && !slices.Contains(clear, f.Name.Name) {
				bare = append(bare, s.path+": "+f.Name.Name)
			}
		}
	}
	share := 100 * float64(len(bare)) / float64(unexported)
	t.Logf("%d of %d unexported functions (%.1f %%) are named by one word", len(bare), unexported, share)
	assert.LessOrEqual(t, share, maxBareNames, "give these a verb and an object, or a noun that says more:\n%s", strings.Join(bare, "\n"))
}
