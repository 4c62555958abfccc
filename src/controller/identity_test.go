package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

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
	b.controller.Identities.Allowed = true
	b.reconcile("db")
	as := keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}
	assert.Equal(t, as, b.vault.calls[0].As)
	assert.Contains(t, b.ready("db").Message, `read as ServiceAccount "reader" of namespace "shop"`)
	assert.Len(t, b.events.events, 1, "nothing was ignored")
}

func TestANamespaceReadsItsOwnVaultsAlone(t *testing.T) {
	b := newBench(t, resource("db"))
	b.controller.Rules = rule.Rules{{Namespaces: []string{"other"}, Vaults: []string{"kv1"}}}
	b.reconcile("db")
	assert.Equal(t, "AccessDenied", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "vaultRules")
	assert.Empty(t, b.vault.calls, "the vault is not asked")
}
