package recipe_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

func TestRefNamesTheObject(t *testing.T) {
	r := recipe.Recipe{Vault: "kv"}
	ref := r.Ref(recipe.Item{Name: "n", Version: "v", Type: recipe.Certificate}, keyvault.KindSecret)
	assert.Equal(t, keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecret, Name: "n", Version: "v"}, ref)
	assert.Len(t, recipe.ObjectTypes(), 4)
}
