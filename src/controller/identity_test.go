package controller_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
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
