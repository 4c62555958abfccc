package limits_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// constants are the exported constants of this package, by name.
func constants(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	names := map[string]bool{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, declaration := range tree.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST || strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.IsExported() {
						names[name.Name] = true
					}
				}
			}
		}
	}
	return names
}

func TestEveryConstantHasOneCompleteRow(t *testing.T) {
	declared, listed := constants(t), map[string]bool{}
	for _, area := range limits.Areas() {
		require.NotEmpty(t, area.Title)
		for _, l := range area.Limits {
			assert.True(t, declared[l.Name], "%s is no constant of this package", l.Name)
			assert.False(t, listed[l.Name], "%s has two rows", l.Name)
			listed[l.Name] = true
			for what, text := range map[string]string{"Value": l.Value, "Bounds": l.Subject, "Exceeded": l.Exceeded, "Reason": l.Reason} {
				assert.NotEmpty(t, text, "%s has no %s", l.Name, what)
				assert.NotContains(t, text, "|", "%s: %s would break the table", l.Name, what)
			}
		}
	}
	for name := range declared {
		assert.True(t, listed[name], "limits.%s has no row; add it to the table beside it", name)
	}
}

func TestEveryConstantIsEnforcedSomewhere(t *testing.T) {
	declared, used := constants(t), map[string]bool{}
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for name := range declared {
			used[name] = used[name] || strings.Contains(string(content), "limits."+name)
		}
		return nil
	}))
	for name := range declared {
		assert.True(t, used[name], "nothing enforces limits.%s", name)
	}
}

func TestFormatting(t *testing.T) {
	for want, got := range map[string]string{
		"3 MiB": limits.Bytes(3 << 20), "128 KiB": limits.Bytes(128 << 10), "1,500 bytes": limits.Bytes(1500), "20,000": limits.Count(20_000),
		"1,000,000": limits.Count(1_000_000), "96": limits.Count(96), "100 per second": limits.Rate(100), "20 seconds": limits.Duration(20 * time.Second),
		"1 hour": limits.Duration(time.Hour), "90 seconds": limits.Duration(90 * time.Second), "200 milliseconds": limits.Duration(200 * time.Millisecond),
		"1.5µs": limits.Duration(1500 * time.Nanosecond),
	} {
		assert.Equal(t, want, got)
	}
	assert.Contains(t, limits.Page(), "# Limits")
}
