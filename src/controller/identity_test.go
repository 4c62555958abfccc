package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
)

func TestAnIdentityThatIsIgnoredIsToldSo(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "sa"}
	b := newBench(t, r)
	b.reconcile("db")
	assert.Equal(t, "Synced", b.ready("db").Reason, "it is synced all the same, as before")
	assert.Contains(t, b.ready("db").Message, "spec.vault.azureIdentity is ignored")
	assert.Len(t, b.events.events, 2)
	assert.Contains(t, b.events.events[1], "Warning AzureIdentityIgnored")
	b.reconcile("db")
	assert.Len(t, b.events.events, 2, "once")
}

func TestAResourceIsReadAsTheServiceAccountOfItsOwnNamespace(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
	b := newBench(t, r)
	b.controller.Identities.AllowServiceAccounts = true
	b.reconcile("db")
	as := keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}
	assert.Equal(t, as, b.vault.calls[0].Identity)
	assert.Contains(t, b.ready("db").Message, `read as ServiceAccount "reader" of namespace "shop"`)
	assert.Len(t, b.events.events, 1, "nothing was ignored")
}

func TestASearchReadsAsTheServiceAccountOfItsOwnNamespaceToo(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	r.Spec.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "shop-"}}}
	b := newBench(t, r)
	b.controller.Identities.AllowServiceAccounts = true
	b.vault.entries = []keyvault.Entry{{Name: "shop-a"}}
	b.reconcile("db")
	require.Len(t, b.vault.calls, 2, "the list, and what it found")
	assert.Equal(t, keyvault.KindSecretList, b.vault.calls[0].Kind)
	for _, call := range b.vault.calls {
		assert.Equal(t, keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}, call.Identity, "what a vault has is the tenant's to know")
	}
}

func TestANamespaceReadsItsOwnVaultsAlone(t *testing.T) {
	b := newBench(t, resource("db"))
	b.controller.VaultRules = rule.AccessRules{{Namespaces: []string{"other"}, Vaults: []string{"kv1"}}}
	b.reconcile("db")
	assert.Equal(t, "AccessDenied", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "vaultRules")
	assert.Empty(t, b.vault.calls, "the vault is not asked")
}
