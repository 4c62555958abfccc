package credential_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/chartvalues"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
)

// TestEveryMethodIsAValueOfTheChartAndDocumented names what a new authentication method needs beside its code.
func TestEveryMethodIsAValueOfTheChartAndDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reference/authentication.md")
	require.NoError(t, err)
	values := map[string][]string{}
	for _, enum := range chartvalues.GlobalEnums() {
		values[enum.Path] = enum.Values
	}
	modes := credential.Modes()
	assert.Len(t, values["global.keyVaultAuth"], len(modes), "KeyVaultAuth in src/chartvalues has a method without code")
	for _, mode := range modes {
		assert.Contains(t, values["global.keyVaultAuth"], string(mode), "add it to KeyVaultAuth in src/chartvalues, then run make generate")
		assert.Contains(t, string(page), string(mode), "docs/reference/authentication.md: describe it")
	}
}
