package usage_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/controller/usage"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestResourcesAreFoundByTheObjectsThatTheyUse(t *testing.T) {
	var x usage.Index
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: n} }
	db := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "db"}
	other, tenants := db, db
	other.Name, tenants.As = "other", keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}
	assert.Empty(t, x.Of(db))
	x.Set(name("a"), []keyvault.Ref{db, other})
	x.Set(name("b"), []keyvault.Ref{db})
	x.Set(name("c"), []keyvault.Ref{tenants})
	assert.ElementsMatch(t, []types.NamespacedName{name("a"), name("b")}, x.Of(db))
	assert.Equal(t, []types.NamespacedName{name("c")}, x.Of(tenants), "as another identity it is another object")
	x.Set(name("a"), []keyvault.Ref{other})
	x.Set(name("b"), nil)
	assert.Empty(t, x.Of(db))
	assert.Equal(t, []types.NamespacedName{name("a")}, x.Of(other))
}
