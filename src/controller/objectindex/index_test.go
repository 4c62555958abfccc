package objectindex_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/controller/objectindex"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func TestResourcesAreFoundByTheObjectsThatTheyUse(t *testing.T) {
	var x objectindex.Index
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: n} }
	db := keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "db"}
	other, tenants := db, db
	other.Name, tenants.Identity = "other", keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}
	assert.Empty(t, x.ResourcesUsing(db))
	x.SetObjects(name("a"), []keyvault.Ref{db, other})
	x.SetObjects(name("b"), []keyvault.Ref{db})
	x.SetObjects(name("c"), []keyvault.Ref{tenants})
	assert.ElementsMatch(t, []types.NamespacedName{name("a"), name("b")}, x.ResourcesUsing(db))
	assert.Equal(t, []types.NamespacedName{name("c")}, x.ResourcesUsing(tenants), "as another identity it is another object")
	x.SetObjects(name("a"), []keyvault.Ref{other})
	x.SetObjects(name("b"), nil)
	assert.Empty(t, x.ResourcesUsing(db))
	assert.Equal(t, []types.NamespacedName{name("a")}, x.ResourcesUsing(other))
}
