//go:build cluster

package authmatrix

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// issuerKey is the public key of the cluster's tokens, or empty where it is not known.
func issuerKey(t *testing.T, s *stage.Stage) string {
	t.Helper()
	cluster, ok := s.Cluster.(interface{ ServiceAccountKey() string })
	if !ok {
		return ""
	}
	key, err := os.ReadFile(strings.TrimSuffix(cluster.ServiceAccountKey(), ".key") + ".pub")
	require.NoError(t, err)
	return string(key)
}

// ownIdentities has two tenants read their vaults as ServiceAccounts of their own. The installation's identity may read
// neither vault.
func ownIdentities(t *testing.T, s *stage.Stage) {
	key := issuerKey(t, s)
	require.NotEmpty(t, key, "needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local")
	names := []string{"own-a", "own-b", "own-c"} // c is not in the values
	vaults, tenants := map[string]emulator.VaultSeed{}, []entra.Principal{}
	var listed []any
	for n, name := range names {
		p := entra.Principal{Name: name, ClientID: id(30+n, "1"), ObjectID: id(30+n, "2"),
			Federated: []entra.Federation{{Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:" + name + ":reader", Key: key}}}
		tenants = append(tenants, p)
		vaults["kv-"+name] = emulator.VaultSeed{Permissions: map[string][]string{p.ObjectID: {"get"}}, Secrets: map[string]keyvault.Secret{"db": {Value: "value-of-" + name}}}
		require.NoError(t, s.Namespace(t.Context(), name, map[string]string{"azure-key-vault-env-injection": "enabled"}))
		require.NoError(t, s.Client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "reader",
			Annotations: map[string]string{"azure.workload.identity/client-id": p.ClientID}}}))
		if name != "own-c" {
			listed = append(listed, map[string]any{"namespace": name, map[string]string{"own-a": "names", "own-b": "default"}[name]: map[string]any{"own-a": []any{"reader"}, "own-b": "reader"}[name]})
		}
	}
	require.NoError(t, s.Azure.Seed(t.Context(), emulator.Seed{Principals: tenants, Vaults: vaults}))
	require.NoError(t, s.Azure.ResetCounters(t.Context()))
	install(t, s, map[string]string{"AZURE_TENANT_ID": local.TenantID, "AZURE_CLIENT_ID": stage.AppClientID, "AZURE_CLIENT_SECRET": "of-the-emulator-alone"},
		stage.Merge(environment(nil), map[string]any{"identity": map[string]any{"serviceAccounts": listed}}))
	require.NoError(t, s.Settled(t.Context(), "akv2k8s"))
	for _, name := range names[:2] {
		if name == "own-a" {
			readAs(t, s, name, "db", "kv-"+name)
		} else {
			resource(t, s, name, "kv-"+name) // names nobody, and is read as the default of its namespace
		}
		require.NoError(t, stage.Await(t.Context(), time.Minute, "the Secret", func(ctx context.Context) error {
			var secret corev1.Secret
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: name, Name: "db"}, &secret); err != nil {
				return fmt.Errorf("%w; %s", err, condition(ctx, s, name))
			}
			assert.Equal(t, "value-of-"+name, string(secret.Data["v"]))
			return nil
		}))
		assert.Zero(t, run(t, s, name, "value-of-"+name), "through the auth service as well")
	}
	counters, err := s.Azure.Counters(t.Context())
	require.NoError(t, err)
	assert.LessOrEqual(t, counters["token assertion own-a 200"], 3, "one token a process: %v", counters)

	readAs(t, s, "own-a", "stolen", "kv-own-b")
	awaitCondition(t, s, types.NamespacedName{Namespace: "own-a", Name: "stolen"}, "AccessDenied", id(30, "2"))
	readAs(t, s, "own-c", "db", "kv-own-c")
	awaitCondition(t, s, types.NamespacedName{Namespace: "own-c", Name: "db"}, "AccessDenied", "identity.serviceAccounts")
	boundedTokens(t, s)
}

// boundedTokens asks as the product would if it were taken over: for a token of a tenant that the API server accepts.
func boundedTokens(t *testing.T, s *stage.Stage) {
	for _, account := range []string{"akv2k8s-controller", "akv2k8s-envinjector"} {
		as := rest.CopyConfig(s.REST)
		as.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:akv2k8s:" + account}
		kube, err := kubernetes.NewForConfig(as)
		require.NoError(t, err)
		ask := func(namespace, name, audience string) error {
			request := &authenticationv1.TokenRequest{}
			if audience != "" {
				request.Spec.Audiences = []string{audience}
			}
			_, err := kube.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, request, metav1.CreateOptions{})
			return err
		}
		assert.NoError(t, ask("own-a", "reader", "api://AzureADTokenExchange"), "the test asks right")
		for what, err := range map[string]error{"for the API server": ask("own-a", "reader", ""), "for the auth service": ask("own-a", "reader", "akv2k8s"),
			"of another account": ask("own-a", "default", "api://AzureADTokenExchange"), "of another namespace": ask("own-c", "reader", "api://AzureADTokenExchange")} {
			assert.True(t, apierrors.IsForbidden(err) || apierrors.IsInvalid(err), "%s asks for a token %s: %v", account, what, err)
		}
	}
}

// readAs makes a resource that is read as ServiceAccount reader of its namespace.
func readAs(t *testing.T, s *stage.Stage, namespace, name, vault string) {
	t.Helper()
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = vault, "db", "secret"
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: name, DataKey: "v"}}
	require.NoError(t, s.Client.Create(t.Context(), r))
}

func awaitCondition(t *testing.T, s *stage.Stage, name types.NamespacedName, reason, word string) {
	t.Helper()
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the condition", func(ctx context.Context) error {
		var r v2beta1.AzureKeyVaultSecret
		if err := s.Client.Get(ctx, name, &r); err != nil {
			return err
		}
		for _, c := range r.Status.Conditions {
			if c.Reason == reason && strings.Contains(c.Message, word) {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", r.Status.Conditions)
	}))
}
