//go:build cluster

package packaging

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

const (
	home            = "akv2k8s"
	terratestVault  = "kv-terratest"
	terratestSecret = "the value of db"
)

// terratest runs the tests of tests/terratest, a module of its own, by generations of Helm.
func terratest(t *testing.T, generations ...string) {
	require.NoError(t, s.Azure.Vault(t.Context(), terratestVault, map[string]string{"db": terratestSecret}))
	require.NoError(t, s.LoadV1Programs(t.Context()))
	overrides, err := s.Overrides()
	require.NoError(t, err)
	values := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(values, overrides, 0o600))
	for _, generation := range generations {
		t.Run(generation, func(t *testing.T) {
			program, err := s.Tool(t.Context(), generation)
			require.NoError(t, err)
			linked := filepath.Join(t.TempDir(), "helm")
			require.NoError(t, os.Symlink(program, linked))
			cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-count=1", "-timeout=15m", "./...")
			cmd.Dir = filepath.Join(s.Root, "tests", "terratest")
			cmd.Env = append(environment(t, linked), "VALUES="+values, "VAULT="+terratestVault, "WANTED="+terratestSecret)
			out, err := cmd.Output()
			report(t, out)
			assert.NoError(t, err)
			stagetest.ShowOnFailure(t, s, home)
		})
	}
}

// report shows each test of a run of go test -json as a test of its own, and what a failed one printed.
func report(t *testing.T, out []byte) {
	t.Helper()
	printed, ended := map[string]string{}, 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e), lines.Text())
		name := e.Package[strings.LastIndex(e.Package, "/")+1:] + ": " + e.Test
		switch e.Action {
		case "output":
			printed[name] += e.Output
		case "pass", "fail", "skip":
			if e.Test == "" && e.Action != "fail" {
				continue
			}
			ended++
			t.Run(name, func(t *testing.T) { assert.Equal(t, "pass", e.Action, printed[name]) })
		}
	}
	require.NoError(t, lines.Err())
	assert.Greater(t, ended, 90, "each example, command and refusal, and an installation")
}
