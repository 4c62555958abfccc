package state_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

func inShop(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

func secretDB() keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: "db"}
}

func at(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }

func TestResourcesAreFoundByTheObjectsThatTheyUse(t *testing.T) {
	var s state.Store
	db, other, tenants := secretDB(), secretDB(), secretDB()
	other.Name, tenants.Identity = "other", keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}
	use := func(name string, objects ...keyvault.Ref) { s.Put(inShop(name), state.Resource{Objects: objects}) }
	users := func(object keyvault.Ref) []types.NamespacedName { return s.RequestRefresh(object, at(0)) }
	assert.Empty(t, users(db))
	use("a", db, other)
	use("b", db)
	use("c", tenants)
	assert.ElementsMatch(t, []types.NamespacedName{inShop("a"), inShop("b")}, users(db))
	assert.Equal(t, []types.NamespacedName{inShop("c")}, users(tenants), "as another identity it is another object")
	use("a", other)
	use("b")
	assert.Empty(t, users(db))
	assert.Equal(t, []types.NamespacedName{inShop("a")}, users(other))
	s.Remove(inShop("a"))
	assert.Empty(t, users(other))
	assert.NotContains(t, s.All(), inShop("a"), "a request does not bring back a resource that was deleted")
}

func TestARefreshRequestedDuringASyncIsDueAtItsEnd(t *testing.T) {
	var s state.Store
	name, r := inShop("db"), state.Resource{RefreshAt: at(30), Objects: []keyvault.Ref{secretDB()}}
	assert.Equal(t, at(30), s.Put(name, r).RefreshAt)
	s.RequestRefresh(secretDB(), at(10))
	assert.Equal(t, at(10), s.Get(name).RefreshAt)
	assert.Equal(t, at(10), s.BeginSync(name).RefreshAt)
	assert.Equal(t, at(30), s.Put(name, r).RefreshAt, "the sync began after the request, and serves it")

	s.BeginSync(name)
	s.RequestRefresh(secretDB(), at(20))
	assert.Equal(t, at(20), s.Put(name, r).RefreshAt, "the sync may have read the old value")
	assert.Equal(t, at(5), s.Put(name, state.Resource{RefreshAt: at(5)}).RefreshAt, "an earlier retry is not delayed")
}

func TestNothingIsRememberedOfAResourceThatIsUnknownOrRemoved(t *testing.T) {
	var s state.Store
	name := inShop("db")
	assert.Zero(t, s.Get(name))
	assert.Zero(t, s.BeginSync(name))
	assert.Empty(t, s.All(), "a sync that begins is not remembered until something is known")
	r := state.Resource{DeferredSince: at(1), Claim: state.Claim{UID: "u", ClaimedAt: at(2), Contested: true}}
	s.Put(name, r)
	assert.Equal(t, r, s.Get(name))
	assert.Equal(t, map[types.NamespacedName]state.Resource{name: r}, s.All())
	s.Remove(name)
	assert.Zero(t, s.Get(name))
}

func TestASyncIsCurrentForTheSameSpecLabelsAndAnnotations(t *testing.T) {
	resource := func() *v2beta1.AzureKeyVaultSecret {
		return &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 3,
			Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "x"}}}
	}
	r := state.Resource{Synced: true, UID: "u", Generation: 3, Labels: map[string]string{"team": "a"},
		Annotations: map[string]string{"note": "x"}}
	assert.True(t, r.IsCurrentFor(resource()))
	for name, change := range map[string]func(*v2beta1.AzureKeyVaultSecret){
		"uid":         func(r *v2beta1.AzureKeyVaultSecret) { r.UID = "v" },
		"generation":  func(r *v2beta1.AzureKeyVaultSecret) { r.Generation++ },
		"labels":      func(r *v2beta1.AzureKeyVaultSecret) { r.Labels["team"] = "b" },
		"annotations": func(r *v2beta1.AzureKeyVaultSecret) { r.Annotations = nil },
	} {
		changed := resource()
		change(changed)
		assert.False(t, r.IsCurrentFor(changed), name)
	}
	r.Synced = false
	assert.False(t, r.IsCurrentFor(resource()), "never synced")
}

func TestARestartWakesAResourceBeforeItsRefresh(t *testing.T) {
	assert.Equal(t, at(9), state.Resource{RefreshAt: at(9)}.WakeTime())
	assert.Equal(t, at(5), state.Resource{RefreshAt: at(9), Restart: state.Restart{At: at(5)}}.WakeTime())
	assert.Equal(t, at(9), state.Resource{RefreshAt: at(9), Restart: state.Restart{At: at(10)}}.WakeTime())
}

func TestTheAnnotationThatRequestsARefreshIsNoChangeOfTheResource(t *testing.T) {
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 1, Annotations: map[string]string{"akv2k8s.io/refresh": "1", "a": "b"}}}
	known := state.Resource{Synced: true, UID: "u", Generation: 1, Annotations: state.AnnotationsOf(r)}
	assert.Equal(t, map[string]string{"a": "b"}, known.Annotations, "it can be large")
	assert.Len(t, r.Annotations, 2, "the resource of the cache stays as it is")
	assert.True(t, known.IsCurrentFor(r))
	r.Annotations["akv2k8s.io/refresh"] = "2"
	assert.True(t, known.IsCurrentFor(r))
	r.Annotations["a"] = "c"
	assert.False(t, known.IsCurrentFor(r))
	r.Annotations = nil
	assert.Empty(t, state.AnnotationsOf(r))
}
