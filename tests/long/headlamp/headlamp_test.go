//go:build cluster

package headlamp

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// vault is the one of testdata/objects.yaml.
const vault = "akv2k8s-example"

// TestPluginInABrowser checks and builds the plugin, and opens its pages with the objects of a cluster.
func TestPluginInABrowser(t *testing.T) {
	config := stagetest.Config(t, "headlamp")
	folder := filepath.Join(config.Root, "plugins", "headlamp")
	command(t, config.Root, "go", "run", "./tests/run", "headlamp")
	command(t, folder, "npm", "run", "--silent", "browser-build")
	browser, err := build.Builder{Root: config.Root, Progress: t.Output()}.Browser(t.Context())
	require.NoError(t, err)

	s := stagetest.Open(t, config)
	t.Cleanup(func() { stagetest.ShowOnFailure(t, s, "akv2k8s") })
	install(t, s)
	proxy := startProxy(t, s)
	artifacts := filepath.Join(config.Root, "dist", "headlamp-screenshots")
	cmd := exec.CommandContext(t.Context(), "node", "browser/run.mjs", proxy, doctorReport(t, s), artifacts)
	cmd.Dir, cmd.Env = folder, append(cmd.Environ(), "CHROMIUM="+browser)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// command runs a command that must succeed.
func command(t *testing.T, folder, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, out)
}

// install installs the product and the objects, and waits for what the pages show.
func install(t *testing.T, s *stage.Stage) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, s.Azure.Vault(ctx, vault, map[string]string{"database-password": "canary-headlamp-1",
		"settings": "canary-headlamp-2"}))
	require.NoError(t, s.Azure.PutSecret(ctx, vault, "api-key", keyvault.Secret{Value: "canary-headlamp-3",
		Expires: time.Now().Add(48 * time.Hour)}))
	require.NoError(t, s.Install(ctx, stage.Release{Name: "akv2k8s", Namespace: "akv2k8s"}))
	manifest, err := os.ReadFile(filepath.Join("testdata", "objects.yaml"))
	require.NoError(t, err)
	require.NoError(t, s.Apply(ctx, "default", string(manifest)))
	for _, name := range []string{"database", "api", "settings", "missing"} {
		require.NoError(t, stage.Await(ctx, time.Minute, "the condition of "+name, func(ctx context.Context) error {
			var resource v2beta1.AzureKeyVaultSecret
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: "shop", Name: name}, &resource); err != nil {
				return err
			}
			ready := meta.FindStatusCondition(resource.Status.Conditions, v2beta1.ConditionReady)
			if ready == nil || (name == "missing") != (ready.Status == "False") {
				return fmt.Errorf("the condition is %v", ready)
			}
			return nil
		}))
	}
	require.NoError(t, stage.Await(ctx, 2*time.Minute, "the Deployment web", func(ctx context.Context) error {
		var web appsv1.Deployment
		err := s.Client.Get(ctx, types.NamespacedName{Namespace: "shop", Name: "web"}, &web)
		if err == nil && web.Status.ReadyReplicas == 0 {
			err = errors.New("no replica is ready")
		}
		return err
	}))
}

// startProxy serves the API server without authentication on a port of this machine, as kubectl proxy does.
func startProxy(t *testing.T, s *stage.Stage) string {
	t.Helper()
	target, err := url.Parse(s.REST.Host)
	require.NoError(t, err)
	config := rest.CopyConfig(s.REST)
	config.NextProtos = []string{"http/1.1"} // HTTP/2 has no WebSockets, which watches use
	transport, err := rest.TransportFor(config)
	require.NoError(t, err)
	server := httptest.NewServer(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	t.Cleanup(server.Close)
	return server.URL
}

// doctorReport is a file with the findings of the command line.
func doctorReport(t *testing.T, s *stage.Stage) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./src/cmd/kubectl-akv2k8s", "doctor", "-o", "json")
	cmd.Dir, cmd.Env = s.Root, append(cmd.Environ(), "KUBECONFIG="+s.Cluster.Kubeconfig())
	report, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) { // it ends with 1 if it found errors, which the objects have
		require.NoError(t, err)
	}
	require.NotEmpty(t, report)
	file := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, os.WriteFile(file, report, 0o600))
	return file
}
