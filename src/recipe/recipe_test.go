package recipe_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

func TestRefNamesTheListThatTheObjectIsIn(t *testing.T) {
	want := map[recipe.ObjectType]keyvault.Kind{
		recipe.Secret: keyvault.KindSecret, recipe.MultiKey: keyvault.KindSecret,
		recipe.Certificate: keyvault.KindCertificate, recipe.Key: keyvault.KindKey,
	}
	for _, typ := range recipe.ObjectTypes() {
		r := recipe.Recipe{Vault: "kv", Name: "n", Version: "v", Type: typ}
		assert.Equal(t, keyvault.Ref{Vault: "kv", Kind: want[typ], Name: "n", Version: "v"}, r.Ref(), typ)
	}
}
