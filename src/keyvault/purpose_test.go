package keyvault_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestAContextSaysWhatAReadIsFor(t *testing.T) {
	assert.Equal(t, keyvault.Purpose{}, keyvault.PurposeOf(t.Context()))
	p := keyvault.Purpose{Namespace: "shop", Priority: keyvault.FirstSync, Every: time.Minute}
	assert.Equal(t, p, keyvault.PurposeOf(keyvault.For(t.Context(), p)))
	assert.Equal(t, "refresh first-sync pod-start", keyvault.Refresh.String()+" "+keyvault.FirstSync.String()+" "+keyvault.PodStart.String())
	assert.Less(t, keyvault.Refresh, keyvault.FirstSync)
	assert.Less(t, keyvault.FirstSync, keyvault.PodStart)
}
