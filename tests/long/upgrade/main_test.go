//go:build cluster

package upgrade

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

const (
	// home is the release's namespace and name.
	home = "akv2k8s"
	// vault has the secret db.
	vault = "kv-upgrade"
	value = "the password"
	// patience is enough for anything that happens by itself.
	patience = time.Minute
)

// s is the stage of all tests.
var s *stage.Stage

// TestUpgrade goes from what users have to what we ship, in the order in which it can happen on one cluster.
func TestUpgrade(t *testing.T) {
	var err error
	s, err = stagetest.Open(t, stagetest.Config(t, "upgrade")).ByHelm(t.Context(), "3")
	require.NoError(t, err)
	require.NoError(t, s.Azure.Vault(t.Context(), vault, map[string]string{"db": value}))
	require.NoError(t, s.LoadV1Programs(t.Context()))
	for _, scenario := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"an older definition is refused by the controller, and brought up to date by helm upgrade", olderDefinition},
		{"an uninstall keeps the definition, the resources and their Secrets", uninstall},
		{"an install brings an older definition up to date", installOverOlder},
		{"helm template and kubectl apply bring the definition", templated},
		{"a release of chart 2.8 is upgraded with its values unchanged, and nothing is absent for a moment", fromV1},
		{"a pod of akv2k8s 1.8 that starts again is told to be recreated", oldPodRestarts},
		{"the CA of akv2k8s 1.8 is trusted until its replicas are gone", extraRootGoes},
		{"a rollback works, and another upgrade after it", rollback},
		{"helm 4 installs, upgrades and rolls back by server-side apply", helm4},
		{"the certificate of a double of cert-manager is shown, and another without a restart", certManager},
		{"a certificate of one's own is shown, and another without a restart", ownCertificate},
	} {
		if !t.Run(scenario.name, scenario.run) {
			explain(t)
			return // the next one begins where this one should have ended
		}
	}
}

// explain prints what the pods of a scenario that failed said, and what became of them.
func explain(t *testing.T) {
	t.Helper()
	for _, namespace := range []string{home, users} {
		logs, err := s.Logs(context.WithoutCancel(t.Context()), namespace)
		t.Log(namespace, err)
		for name, log := range logs {
			t.Logf("%s: %s", name, log)
		}
		out, err := kubectl(t, "", "get", "pods,events", "--namespace", namespace, "--output", "wide")
		t.Log(out, err)
	}
}

// read is a file of testdata.
func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	require.NoError(t, err)
	return string(content)
}

// install installs or upgrades the product as release akv2k8s, on top of what the stage needs.
func install(t *testing.T, values map[string]any) {
	t.Helper()
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: home, Namespace: home, Values: stage.Merge(map[string]any{"azureKeyVaultResyncPeriod": 5}, values)}))
}

// kubectl runs it on the cluster.
func kubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.Cluster.Programs(t.Context()), "kubectl"), append([]string{"--kubeconfig", s.Cluster.Kubeconfig()}, args...)...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// team makes a namespace whose pods are injected.
func team(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, s.Namespace(t.Context(), name, map[string]string{"azure-key-vault-env-injection": "enabled"}))
}

// resource makes an AzureKeyVaultSecret of the vault's secret db; output names the Secret to make, empty for none.
func resource(t *testing.T, namespace, name, output string) *v2beta1.AzureKeyVaultSecret {
	t.Helper()
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vault, "db", "secret"
	if output != "" {
		r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: output, DataKey: "password"}}
	}
	require.NoError(t, s.Client.Create(t.Context(), r))
	return r
}

// synced waits for the Secret of a resource.
func synced(t *testing.T, namespace, name string) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), patience, "Secret "+name, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret); err != nil {
			return err
		}
		if string(secret.Data["password"]) != value {
			return fmt.Errorf("it is not the vault's")
		}
		return nil
	}))
}

// gone waits until no pod is left in the release's namespace.
func gone(t *testing.T) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), patience, "the end of all pods", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(home)); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.Status.Phase == corev1.PodRunning {
				return fmt.Errorf("%s is there", p.Name)
			}
		}
		return nil
	}))
}
