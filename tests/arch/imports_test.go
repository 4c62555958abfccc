package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goList runs go list in the repository.
func goList(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	return out
}

// imports are the direct imports of each package of src, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(goList(t, "-json=ImportPath,Imports", "./src/...")))
	all := map[string][]string{}
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all[strings.TrimPrefix(p.ImportPath, module+"src/")] = p.Imports
	}
}

func TestImportsPointDown(t *testing.T) {
	for room, imported := range imports(t) {
		floor, ok := rooms()[room]
		if !assert.True(t, ok, "src/%s has no room; give it a floor in tests/arch/plan_test.go", room) {
			continue
		}
		for _, path := range imported {
			below, ours := strings.CutPrefix(path, module+"src/")
			if !ours {
				assert.False(t, strings.HasPrefix(path, module), "src/%s imports %s, which is no part of the product", room, path)
				continue
			}
			other := rooms()[below]
			switch {
			case floor == testOnly:
			case other == testOnly:
				t.Errorf("src/%s imports src/%s, which is never shipped", room, below)
			case other >= floor && !neighbours(room, below):
				t.Errorf("src/%s (floor %d) imports src/%s (floor %d); imports point down", room, floor, below, other)
			}
		}
	}
	for room := range rooms() {
		assert.DirExists(t, filepath.Join("../../src", room), "the plan has a room that the house has not")
		assert.FileExists(t, filepath.Join("../../src", room, docFile(room)), "each room says what it is for")
	}
}

// docFile is where a room's purpose is written.
func docFile(room string) string {
	if strings.Contains("/"+room, "/cmd/") {
		return "main.go"
	}
	return "doc.go"
}

func TestWhatImportsTheStandardLibraryAlone(t *testing.T) {
	all := imports(t)
	for _, room := range stdlibOnly() {
		for _, path := range all[room] {
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") {
				assert.True(t, strings.HasPrefix(path, module), "src/%s imports %s", room, path)
			}
		}
	}
}

func deps(t *testing.T, packages ...string) []string {
	t.Helper()
	return strings.Fields(string(goList(t, append([]string{"-deps"}, packages...)...)))
}

func TestNothingRetiredOrForeignIsLinked(t *testing.T) {
	banned := regexp.MustCompile(`go-autorest|aws-sdk|docker-credential-acr-env|spf13/viper|adal`)
	for _, path := range deps(t, "./...") {
		assert.NotRegexp(t, banned, path)
	}
	for _, program := range shipped() {
		for _, path := range deps(t, "./"+program) {
			assert.NotContains(t, path, module+"src/emulator", program)
			assert.NotContains(t, path, module+"src/testkit", program)
			assert.NotContains(t, path, module+"src/v1compat/v1test", program)
			assert.NotContains(t, path, module+"tests", program)
		}
	}
}

func TestTheInjectorIsSmall(t *testing.T) {
	for program, most := range injectors() {
		t.Run(filepath.Base(program), func(t *testing.T) {
			linked := deps(t, "./"+program)
			require.Greater(t, len(linked), 50)
			for _, path := range linked {
				assert.NotRegexp(t, most.never, path, "in every pod")
			}
			file := filepath.Join(t.TempDir(), "injector")
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./"+program)
			cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			info, err := os.Stat(file)
			require.NoError(t, err)
			t.Logf("the injector has %.1f MB", float64(info.Size())/1e6)
			assert.LessOrEqual(t, info.Size(), most.size)
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.NotContains(t, string(content[:4096]), "ld-linux", "it is static")
			prepared := initialized(t, file)
			t.Logf("before its main function the injector allocates %.0f kB", float64(prepared)/1e3)
			assert.LessOrEqual(t, prepared, most.prepared, "each container pays for what packages prepare at the start; do it when it is needed")
		})
	}
}

// initialized is how much memory the packages of a program allocate before its main function, in bytes, as the Go
// runtime counts it.
func initialized(t *testing.T, program string) (sum int) {
	t.Helper()
	cmd := exec.Command(program, "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	counts := regexp.MustCompile(`(?m)^init .* (\d+) bytes, \d+ allocs$`).FindAllSubmatch(out, -1)
	require.NotEmpty(t, counts, string(out))
	for _, count := range counts {
		bytes, err := strconv.Atoi(string(count[1]))
		require.NoError(t, err)
		sum += bytes
	}
	return sum
}

// pureRooms are the packages of floors 0 to 2, and pureAbove.
func pureRooms() []string {
	pure := pureAbove()
	for room, floor := range rooms() {
		if floor >= 0 && floor <= 2 {
			pure = append(pure, room)
		}
	}
	slices.Sort(pure)
	return pure
}

func TestPureRoomsAreCovered(t *testing.T) {
	args := []string{"test", "-cover"}
	for _, room := range pureRooms() {
		if !strings.HasPrefix(room, "api/") && room != "wire" && room != "logkey" { // without statements but generated ones
			args = append(args, "./src/"+room)
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	found := regexp.MustCompile(`(?m)src/(\S+)\s.*coverage: ([\d.]+)% of statements`).FindAllStringSubmatch(string(out), -1)
	assert.Len(t, found, len(args)-2, string(out))
	for _, m := range found {
		percent, err := strconv.ParseFloat(m[2], 64)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, percent, minCoverage, "src/%s", m[1])
	}
}
