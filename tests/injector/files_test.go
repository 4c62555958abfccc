package injector

import (
	"bytes"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// filesRecord are the files of the pod of these tests.
const filesRecord = `{"directories": {
  "0": [{"path": "plain", "from": "plain@azurekeyvault", "mode": 256}, {"path": "sub/nul", "from": "nul@azurekeyvault", "mode": 420},
    {"path": "key", "from": "cert@azurekeyvault?tls.key", "mode": 288}, {"path": "many.json", "from": "many@azurekeyvault", "mode": 420, "format": "json"}],
  "1": [{"path": ".", "folder": true, "from": "many@azurekeyvault", "mode": 420}],
  "2": [{"path": "tls", "folder": true, "from": "cert@azurekeyvault", "mode": 420}, {"path": "web.pfx", "from": "cert@azurekeyvault", "mode": 420, "format": "pfx", "password": "plain@azurekeyvault"}]}}`

// inFilesContainer runs a command of the image with the injectors as a files container does, in a mount namespace of its
// own, and lists the files with their modes and contents.
const inFilesContainer = `mount -t tmpfs tmpfs /run && mkdir -p ` + wire.MountToken + ` /run/files && cp "$1"/* ` + wire.MountToken + ` && "$2" write-files /run/files && "$2" check-files /run/files
cd /run/files && find -L . -type f -not -path '*/..*' -exec stat -L -c '%a %n' {} + | sort -k 2 && find -L . -type f -not -path '*/..*' | sort | xargs sha256sum && cat 0/plain 1/a 1/n && grep -c 'PRIVATE KEY' 0/key 2/tls/tls.key && cat 0/many.json`

// filesOfAllSorts writes the same files through the auth service and without it.
func (m *modes) filesOfAllSorts(t *testing.T) {
	outputs := map[string]string{}
	for name, by := range m.ways {
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--map-root-user", "--propagation", "private", "bash", "-ec", inFilesContainer, "bash", by.files, by.program)
		cmd.Env = append(slices.Clone(by.env), wire.EnvFiles+"="+filesRecord)
		var out, log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &log
		require.NoError(t, cmd.Run(), "%s: %s", name, log.String())
		outputs[name] = out.String()
	}
	first := outputs["by itself"]
	for name, output := range outputs {
		assert.Equal(t, first, output, name)
	}
	for _, want := range []string{"400 ./0/plain\n", "440 ./0/key\n", "644 ./0/sub/nul\n", "644 ./1/o\n", "644 ./2/tls/tls.crt\n", "644 ./2/web.pfx\n", "value11.50", "0/key:2", "2/tls/tls.key:2", "\"a\": \"1\""} {
		assert.Contains(t, first, want)
	}
	missing := exec.CommandContext(t.Context(), m.thin, "check-files", t.TempDir())
	content, err := missing.CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(content), "the pod's files were not written yet")
}
