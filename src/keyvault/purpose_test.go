package keyvault_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestAContextSaysWhatAReadIsFor(t *testing.T) {
	assert.Equal(t, keyvault.Purpose{}, keyvault.PurposeOf(t.Context()))
	p := keyvault.Purpose{Namespace: "shop", Priority: keyvault.PriorityFirstSync, RefreshInterval: time.Minute}
	assert.Equal(t, p, keyvault.PurposeOf(keyvault.WithPurpose(t.Context(), p)))
	assert.Equal(t, "refresh first-sync pod-start", keyvault.PriorityRefresh.String()+" "+keyvault.PriorityFirstSync.String()+" "+keyvault.PriorityPodStart.String())
	assert.Less(t, keyvault.PriorityRefresh, keyvault.PriorityFirstSync)
	assert.Less(t, keyvault.PriorityFirstSync, keyvault.PriorityPodStart)
}
