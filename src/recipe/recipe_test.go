package recipe_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

func TestRefNamesTheObject(t *testing.T) {
	r := recipe.Recipe{Vault: "kv"}
	ref := r.ItemRef(recipe.Item{Name: "n", Version: "v", Type: "certificate"}, keyvault.KindSecret)
	assert.Equal(t, keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecret, Name: "n", Version: "v"}, ref)
	assert.Equal(t, keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecretList}, r.SecretListRef())
	assert.Equal(t, "spec.output.configMap", recipe.Output{Kind: recipe.OutputConfigMap}.FieldPath())
	assert.Equal(t, "spec.output", recipe.Output{}.FieldPath())
}

func TestTheIntervalIsTheResourcesOrTheInstallations(t *testing.T) {
	hour, zero := time.Hour, time.Duration(0)
	for refresh, want := range map[*time.Duration]time.Duration{nil: time.Minute, &zero: time.Minute, &hour: time.Hour} {
		r := recipe.Recipe{RefreshInterval: refresh}
		assert.Equal(t, want, r.RefreshIntervalOr(time.Minute))
		assert.Equal(t, refresh == &zero, r.IsReadOnce())
	}
}
