package broker_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
)

func TestAResourceIsReadAsTheServiceAccountOfThePodsNamespace(t *testing.T) {
	for allowed, as := range map[bool]keyvault.Identity{false: {}, true: {Namespace: "team", ServiceAccount: "reader"}} {
		b := newBrokerTest(t)
		b.broker.Identities.AllowServiceAccounts = allowed
		var r v2beta1.AzureKeyVaultSecret
		require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "team", Name: "one"}, &r))
		r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
		require.NoError(t, b.client.Update(t.Context(), &r))
		assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"I": "one@azurekeyvault"}).Code)
		require.Len(t, b.vault.calls, 1)
		assert.Equal(t, as, b.vault.calls[0].Identity, "if that is allowed at all")
	}
}

func TestASearchReadsAsTheServiceAccountOfThePodsNamespaceToo(t *testing.T) {
	b := newBrokerTest(t)
	b.broker.Identities.AllowServiceAccounts = true
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "team", Name: "one"}, &r))
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	r.Spec.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "shop-"}}}
	require.NoError(t, b.client.Update(t.Context(), &r))
	b.assertError(b.sendReferences(map[string]string{"I": "one@azurekeyvault"}), fault.NotFound, "")
	require.NotEmpty(t, b.vault.calls)
	for _, call := range b.vault.calls {
		assert.Equal(t, keyvault.Identity{Namespace: "team", ServiceAccount: "reader"}, call.Identity, "what the list has is the tenant's to know")
	}
}

func TestANamespaceReadsItsOwnVaultsAlone(t *testing.T) {
	b := newBrokerTest(t)
	b.broker.Rules = rule.AccessRules{{Namespaces: []string{"other"}, Vaults: []string{"kv1"}}}
	b.assertError(b.sendReferences(map[string]string{"I": "one@azurekeyvault"}), fault.Denied, "vaultRules")
	assert.Empty(t, b.vault.calls, "the vault is not asked")
	b.broker.Rules = rule.AccessRules{{Namespaces: []string{"team"}, Vaults: []string{"kv1"}}}
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"I": "one@azurekeyvault"}).Code)
}
