package sbom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Module is a Go module that is linked into a program, or Go's standard library.
type Module struct {
	// Path and Version as go.mod has them; the standard library is "std" with Go's version.
	Path, Version string
	// Dir is where its source is on this machine.
	Dir string
	// Licences are SPDX identifiers, one for each text that was found.
	Licences []string
	// Texts are the files of licences and notices, by name.
	Texts map[string]string
}

// Modules are those that packages of the repository are linked with on Linux, sorted by path, without the repository's
// own.
func Modules(ctx context.Context, root string, packages ...string) ([]Module, error) {
	args := append([]string{"list", "-deps", "-json=Module,Standard"}, packages...)
	out, err := goCommand(ctx, root, args...)
	if err != nil {
		return nil, err
	}
	standard, err := standardLibrary(ctx, root)
	if err != nil {
		return nil, err
	}
	modules := map[string]Module{"std": standard}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path, Version, Dir string }
			}
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list printed: %w", err)
		}
		m := listed.Module
		if m == nil || m.Main {
			continue
		}
		modules[m.Path] = Module{Path: m.Path, Version: m.Version, Dir: m.Dir}
		if r := m.Replace; r != nil {
			modules[m.Path] = Module{Path: r.Path, Version: r.Version, Dir: r.Dir}
		}
	}
	return withLicences(modules)
}

func withLicences(modules map[string]Module) ([]Module, error) {
	var all []Module
	for _, m := range modules {
		if err := m.readLicences(); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// standardLibrary has its licence beside or above its sources, as the distribution of Go chose.
func standardLibrary(ctx context.Context, root string) (Module, error) {
	out, err := goCommand(ctx, root, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return Module{}, err
	}
	lines := strings.Fields(string(out))
	if len(lines) != 2 {
		return Module{}, fmt.Errorf("go env GOROOT GOVERSION printed %q", out)
	}
	return Module{Path: "std", Version: lines[1], Dir: lines[0]}, nil
}

func goCommand(ctx context.Context, root string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out, nil
}

// minimalCover is how much of a text has to be a known licence, in percent. Headers and lists of authors are the rest.
const minimalCover = 60

// readLicences reads the texts in the module's folder. Folders below it have code of others, whose texts are beside
// that code.
func (m *Module) readLicences() error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return fmt.Errorf("reading the licence of %s: %w", m.Path, err)
	}
	m.Texts = map[string]string{}
	for _, entry := range entries {
		if entry.IsDir() || !isLegal(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(m.Dir, entry.Name()))
		if err != nil {
			return err
		}
		m.Texts[entry.Name()] = string(content)
		if !isLicence(entry.Name()) {
			continue
		}
		cover := licensecheck.Scan(content)
		if cover.Percent < minimalCover {
			continue
		}
		for _, match := range cover.Match {
			if !match.IsURL && !slices.Contains(m.Licences, match.ID) {
				m.Licences = append(m.Licences, match.ID)
			}
		}
	}
	slices.Sort(m.Licences)
	return nil
}

// isLegal says whether a file's name is one of a licence or notice.
func isLegal(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"license", "licence", "copying", "notice", "patents"} {
		if strings.HasPrefix(name, word) && !strings.HasSuffix(name, ".go") {
			return true
		}
	}
	return false
}

// isLicence says whether a file has a licence of the code. Patent grants and notices come on top of one, and
// documentation is not shipped.
func isLicence(name string) bool {
	name = strings.ToLower(name)
	return !strings.HasPrefix(name, "patents") && !strings.HasPrefix(name, "notice") &&
		!strings.HasSuffix(name, ".docs")
}

func sortedNames(texts map[string]string) []string { return slices.Sorted(maps.Keys(texts)) }

// Allowed are the licences that a shipped program may be made of. All of them permit use and distribution in binary
// form, if their texts go along; MPL-2.0 asks that changes of its own files be published, and there are none.
func Allowed() []string {
	return []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}
}

// Refuse gives an error for each module whose licence is unknown or not allowed.
func Refuse(modules []Module) error {
	var refused []error
	for _, m := range modules {
		if len(m.Licences) == 0 {
			refused = append(refused, fmt.Errorf("%s %s has no licence that is known; look at %s", m.Path, m.Version,
				m.Dir))
		}
		for _, id := range m.Licences {
			if !slices.Contains(Allowed(), id) {
				refused = append(refused, fmt.Errorf("%s %s has the licence %s, which is not in the list of tests/sbom",
					m.Path, m.Version, id))
			}
		}
	}
	return errors.Join(refused...)
}
