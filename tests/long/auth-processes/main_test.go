//go:build cluster

package authprocesses

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/src/testkit/azuretest"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// bench is what every cell shares.
type bench struct {
	stage *stage.Stage
	azure *azuretest.Azure
	// programs is the folder of the three programs, files one with everything that they read.
	programs, files string
	// environ is of every process: how it reaches Azure.
	environ []string
}

// vault is what every principal may read.
const vault, value = "kv1", "value-of-the-vault"

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{programs: t.TempDir(), files: t.TempDir(), azure: azuretest.Start(t), stage: stagetest.Open(t, stagetest.Config(t, "auth-processes"))}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.programs+"/", "./src/cmd/controller", "./src/cmd/envinjector", "./src/cmd/azure-keyvault-env")
	build.Dir, build.Env = b.stage.Root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	definition, err := os.ReadFile(filepath.Join(b.stage.Chart(), "crds", "spv.no_azurekeyvaultsecrets.yaml"))
	require.NoError(t, err)
	require.NoError(t, b.stage.Apply(t.Context(), "", string(definition)))
	require.NoError(t, stage.Await(t.Context(), patience, "AzureKeyVaultSecrets to be served", func(ctx context.Context) error {
		return b.stage.Client.List(ctx, &v2beta1.AzureKeyVaultSecretList{})
	}))
	// Of the chart, what pods need that read for themselves.
	reader, err := b.stage.Helm(t.Context(), "template", "akv2k8s", b.stage.Chart(), "--show-only", "templates/env-injector/reader-role.yaml",
		"--show-only", "templates/env-injector/reader-rolebinding.yaml")
	require.NoError(t, err)
	require.NoError(t, b.stage.Apply(t.Context(), "", reader))
	server, err := url.Parse(b.stage.REST.Host)
	require.NoError(t, err)
	proxy := b.azure.StartProxy(t)
	b.environ = []string{"HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy, "NO_PROXY=" + server.Hostname() + ",127.0.0.1", "PATH=" + os.Getenv("PATH")}
	b.write(t, "ca.crt", string(b.azure.CA))
	return b
}

// write makes a file and gives its path.
func (b *bench) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(b.files, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (b *bench) path(name string) string { return filepath.Join(b.files, name) }

// environment adds variables to what every process has.
func (b *bench) environment(variables map[string]string) []string {
	out := append([]string{}, b.environ...)
	for name, value := range variables {
		out = append(out, name+"="+value)
	}
	return out
}

func TestMatrix(t *testing.T) {
	b := newBench(t)
	methods := b.methods(t)
	everybody := map[string][]string{}
	for _, m := range methods {
		everybody[m.principal] = []string{"get"}
	}
	require.NoError(t, b.azure.ApplySeed(emulator.Seed{Vaults: map[string]emulator.VaultSeed{vault: {Permissions: everybody, Secrets: map[string]keyvault.Secret{"db": {Value: value}}}}}))
	n := 0
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			for _, c := range b.clouds(t) {
				t.Run(c.name, func(t *testing.T) {
					for component, try := range map[string]func(*testing.T, string, method, place){"controller": b.controller, "env-injector": b.envInjector, "pod": b.pod} {
						n++
						namespace := fmt.Sprintf("cell-%d", n)
						t.Run(component, func(t *testing.T) {
							t.Parallel()
							try(t, namespace, m, c)
						})
					}
				})
			}
		})
	}
	t.Run("refused", b.refusals)
	t.Run("a token expires and the secret is rotated while the controller runs", b.rotatedSecret)
	t.Run("a mounted certificate is rotated while the controller runs", b.rotatedCertificate)
}
