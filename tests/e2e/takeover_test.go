//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// v1Secret writes a Secret as the controller of akv2k8s 1.8 did, for resources that exist.
func (tm team) v1Secret(name string, data map[string]string, owners ...*v2beta1.AzureKeyVaultSecret) {
	tm.Helper()
	yes, no := true, false
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name,
		Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, StringData: data}
	for _, owner := range owners {
		secret.OwnerReferences = append(secret.OwnerReferences, metav1.OwnerReference{APIVersion: "spv.no/v2beta1", Kind: "AzureKeyVaultSecret",
			Name: owner.Name, UID: owner.UID, Controller: &no, BlockOwnerDeletion: &yes})
	}
	require.NoError(tm, s.Client.Create(tm.Context(), secret, client.FieldOwner("azure-keyvault-controller")))
}

// feeds gives a resource its output.
func (tm team) feeds(r *v2beta1.AzureKeyVaultSecret, name, key string) {
	tm.Helper()
	r.Spec.Output = &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: name, DataKey: key}}
	require.NoError(tm, s.Client.Update(tm.Context(), r))
}

func (tm team) managers(name string) map[string]bool {
	tm.Helper()
	var secret corev1.Secret
	require.NoError(tm, s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &secret))
	all := map[string]bool{}
	for _, entry := range secret.ManagedFields {
		all[entry.Manager] = true
	}
	return all
}

// v1Outputs are taken over in place: also while the vault of one of two owners can't be reached, no key is
// ever absent.
func v1Outputs(t *testing.T) {
	tm := newTeam(t)
	// The old controller's world is whole before the new one comes.
	controller := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-controller"}
	require.NoError(t, s.Scale(t.Context(), controller, 0))
	one := tm.resource("one", "db", "")
	tm.v1Secret("single", map[string]string{"password": canary + "-old", "unwanted": "x"}, one)
	tm.feeds(one, "single", "password")
	tm.secret("first", canary+"-first")
	tm.secret("second", canary+"-second")
	require.NoError(t, s.Azure.Inject(t.Context(), keyvault.Fault{Vault: tm.vault, Name: "second", Drop: true}))
	first, second := tm.resource("first", "first", ""), tm.resource("second", "second", "")
	tm.v1Secret("double", map[string]string{"a": canary + "-first", "b": canary + "-last-good", "orphan": "x"}, first, second)
	ctx, stop := context.WithCancel(t.Context())
	absent := make(chan string, 1)
	go watchKeys(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "double"}, absent)
	tm.feeds(first, "double", "a")
	tm.feeds(second, "double", "b")
	require.NoError(t, s.Scale(t.Context(), controller, 1))
	tm.awaitReason("one", "Synced")
	single := tm.holds("single", "password")
	assert.Equal(t, canary+"-db", string(single.Data["password"]))
	assert.Empty(t, single.Annotations)
	assert.Equal(t, map[string]bool{"akv2k8s-" + string(one.UID): true}, tm.managers("single"))

	tm.awaitReason("first", "Synced")
	tm.awaitReason("second", "VaultUnavailable")
	both := tm.holds("double", "a", "b", "orphan")
	assert.Equal(t, canary+"-last-good", string(both.Data["b"]))
	assert.True(t, tm.managers("double")["azure-keyvault-controller"], "its entry keeps the key of the one that can't be read")
	require.NoError(t, s.Azure.Heal(t.Context(), tm.vault))
	tm.awaitReason("second", "Synced")
	both = tm.holds("double", "a", "b")
	assert.Equal(t, canary+"-second", string(both.Data["b"]))
	assert.False(t, tm.managers("double")["azure-keyvault-controller"])
	stop()
	assert.Empty(t, <-absent, "a key was absent for a moment")
}

// watchKeys polls until the context ends, and tells whether a key was ever missing.
func watchKeys(ctx context.Context, name types.NamespacedName, absent chan<- string) {
	found, looks := "", 0
	for ctx.Err() == nil {
		var secret corev1.Secret
		if err := s.Client.Get(ctx, name, &secret); err == nil {
			looks++
			for _, key := range []string{"a", "b"} {
				if _, ok := secret.Data[key]; !ok {
					found = key
				}
			}
		} else if ctx.Err() == nil {
			found = err.Error()
		}
		time.Sleep(5 * time.Millisecond) // a gap lasts longer: it is two requests to the API server
	}
	if found == "" && looks < 100 {
		found = fmt.Sprintf("nothing: it was looked at %d times only", looks)
	}
	absent <- found
}
