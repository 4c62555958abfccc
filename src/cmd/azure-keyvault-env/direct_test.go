package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
)

func TestCredentialsThatReferToKeyVaultAreRefused(t *testing.T) {
	for _, name := range credential.EnvironmentVariables() {
		_, err := newDirectResolver(func(asked string) string { return map[string]string{name: "db@azurekeyvault"}[asked] })
		assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		assert.Contains(t, fault.CauseOf(err), name+" refers to Key Vault, but Key Vault is read with it")
		assert.Contains(t, fault.NextStepOf(err), "Kubernetes Secret")
	}
	assert.NoError(t, checkNoSelfReference(func(string) string { return "a value" }))
}
