package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/program"
)

// referencePage is a page of docs/reference.
func referencePage(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../docs/reference", name))
	require.NoError(t, err)
	return string(content)
}

// constants visits the constants of shipped packages whose value is a literal of the kind.
func constants(t *testing.T, kind token.Token, visit func(s source, name, value string)) {
	t.Helper()
	for _, s := range shippedSources(t) {
		for _, declaration := range s.tree.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				constant := spec.(*ast.ValueSpec)
				for i, value := range constant.Values {
					literal, ok := value.(*ast.BasicLit)
					if !ok || literal.Kind != kind {
						continue
					}
					text := literal.Value
					if kind == token.STRING {
						text, _ = strconv.Unquote(text)
					}
					visit(s, constant.Names[i].Name, text)
				}
			}
		}
	}
}

// TestAnnotationsLabelsAndVariablesAreDocumented compares the page with the names in constants and in the chart.
func TestAnnotationsLabelsAndVariablesAreDocumented(t *testing.T) {
	page := referencePage(t, "annotations.md")
	ours := regexp.MustCompile(`^((keys\.)?akv2k8s\.io|azure\.workload\.identity)/[\w-]*$|^ENV_INJECTOR_\w+$`)
	names := map[string]string{}
	constants(t, token.STRING, func(s source, name, value string) {
		if ours.MatchString(value) {
			names[value] = s.path
		}
		if s.folder() == "src/wire" && regexp.MustCompile(`^(Annotation|Label|Env)[A-Z]`).MatchString(name) {
			names[value] = s.path
		}
	})
	require.NoError(t, filepath.WalkDir("../../charts/akv2k8s/templates", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, name := range regexp.MustCompile(`\b(akv2k8s\.io|azure\.workload\.identity)/[\w-]+`).FindAllString(string(content), -1) {
			names[name] = path
		}
		return err
	}))
	assert.Greater(t, len(names), 35, "the names were not found")
	for name, from := range names {
		assert.Contains(t, page, "`"+name, "%s has it; describe it in docs/reference/annotations.md", from)
	}
	for _, match := range regexp.MustCompile("`((?:keys\\.)?akv2k8s\\.io/[\\w-]+|ENV_INJECTOR_\\w+)`").FindAllStringSubmatch(page, -1) {
		assert.Contains(t, names, strings.TrimSuffix(match[1], "UID"), "docs/reference/annotations.md has it, and the code has not")
	}
}

// TestEventsAndConditionsAreDocumented compares the page with the reasons and types in constants, and with the kinds of
// errors.
func TestEventsAndConditionsAreDocumented(t *testing.T) {
	page, known := referencePage(t, "events.md"), map[string]bool{}
	constants(t, token.STRING, func(s source, name, value string) {
		if regexp.MustCompile(`^(event|reason)[A-Z]`).MatchString(name) || s.folder() == "src/api/v2beta1" && strings.HasPrefix(name, "Condition") {
			known[value] = true
			assert.Contains(t, page, "`"+value+"`", "%s has it; describe it in docs/reference/events.md", s.path)
		}
	})
	assert.Greater(t, len(known), 15, "the constants were not found")
	for _, kind := range fault.Kinds() {
		known[kind.Reason()] = true
		assert.Contains(t, page, "\n| `"+kind.Reason()+"` |", "a reason of package fault")
	}
	for _, others := range []string{"LeaderElection", "FailedCreate", "FailedMount", "BackOff"} {
		known[others] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(page, -1) {
		assert.True(t, known[row[1]], "docs/reference/events.md has %s, and the code has not", row[1])
	}
	events := 0
	for _, s := range shippedSources(t) {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if method, ok := call.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Eventf" && len(call.Args) > 3 {
				events++
				_, literal := call.Args[3].(*ast.BasicLit)
				assert.False(t, literal, "%s:%d: make the reason a constant whose name begins with event", s.path, s.line(n))
			}
			return true
		})
	}
	assert.GreaterOrEqual(t, events, 3, "the events were not found")
}

// TestExitCodesAreDocumented compares the page with the codes of the programs and of the injector.
func TestExitCodesAreDocumented(t *testing.T) {
	_, components, _ := strings.Cut(referencePage(t, "exit-codes.md"), "\n## Controller and env-injector\n")
	components, injected, found := strings.Cut(components, "\n## Init container and injected containers\n")
	require.True(t, found)
	wanted := map[string][]int{components: {program.ExitOK, program.ExitFailure, program.ExitUsage}}
	for _, kind := range fault.Kinds() {
		if kind == fault.Conflict { // of outputs only
			continue
		}
		wanted[injected] = append(wanted[injected], kind.ExitCode())
		assert.Regexp(t, fmt.Sprintf("(?m)^\\| %d \\| [^|]*`%s`", kind.ExitCode(), kind.Reason()), injected)
	}
	constants(t, token.INT, func(s source, name, value string) {
		if s.folder() == "src/injector" && strings.HasPrefix(name, "exit") {
			code, err := strconv.Atoi(value)
			require.NoError(t, err)
			wanted[injected] = append(wanted[injected], code)
		}
	})
	for text, codes := range wanted {
		var rows []int
		for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(text, -1) {
			code, err := strconv.Atoi(row[1])
			require.NoError(t, err)
			rows = append(rows, code)
		}
		unique := map[int]bool{}
		for _, code := range codes {
			unique[code] = true
		}
		assert.Equal(t, slices.Sorted(maps.Keys(unique)), rows)
	}
	assert.Contains(t, wanted[injected], 127, "the constants of package injector were not found")
}
