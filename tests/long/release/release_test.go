//go:build cluster

package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/spdx/tools-golang/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRelease runs make release-dry-run in a copy of the repository, as the workflow does.
func TestRelease(t *testing.T) {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	copied := filepath.Join(t.TempDir(), "repository")
	run := func(folder, program string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %s\n%s", program, args, out)
		return string(out)
	}
	run(root, "git", "clone", "--quiet", "file://"+root, copied)
	out := run(copied, "make", "release-dry-run")
	t.Log(out)
	dist := filepath.Join(copied, "dist")

	t.Run("every image is built for both architectures, twice, and is equal", func(t *testing.T) {
		for _, image := range []string{"controller", "env-injector", "env"} {
			assert.Contains(t, out, "image "+image+": built twice, equal: sha256:")
			assert.Contains(t, out, "image "+image+" linux/amd64: ")
			assert.Contains(t, out, "image "+image+" linux/arm64: ")
		}
	})
	t.Run("every program of both architectures starts", func(t *testing.T) {
		for _, program := range []string{"controller", "envinjector", "azure-keyvault-env", "azure-keyvault-env-thin"} {
			for _, arch := range []string{"amd64", "arm64"} {
				assert.Contains(t, out, program+"-"+arch+" for "+arch+" starts")
			}
		}
	})
	t.Run("everything has a checksum that is right", func(t *testing.T) {
		assets := filepath.Join(dist, "release")
		sums, err := os.ReadFile(filepath.Join(assets, "SHA256SUMS"))
		require.NoError(t, err)
		for _, name := range []string{"akv2k8s-3.0.0.tgz", "akv2k8s-default.yaml", "akv2k8s-namespaced.yaml", "akv2k8s-restricted.yaml",
			"controller.spdx.json", "third-party-licenses.txt", "spv.no_azurekeyvaultsecrets.yaml", "values.schema.json"} {
			assert.Contains(t, string(sums), "  "+name+"\n")
		}
		run(assets, "sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
		assert.FileExists(t, filepath.Join(dist, "release-notes.md"))
	})
	t.Run("an SPDX document of each image has its digest", func(t *testing.T) {
		for _, image := range []string{"controller", "env-injector", "env"} {
			file, err := os.Open(filepath.Join(dist, "sbom", image+".spdx.json"))
			require.NoError(t, err)
			document, err := json.Read(file)
			require.NoError(t, err)
			assert.NoError(t, file.Close())
			assert.Contains(t, out, "image "+image+": built twice, equal: sha256:"+document.Packages[0].PackageChecksums[0].Value)
			assert.Greater(t, len(document.Packages), 10)
		}
	})
}
