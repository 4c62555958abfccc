package resolver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// pooledSource is a source with a share of a decode pool. Its resource searches secrets by name.
type pooledSource struct {
	*source
	share decodepool.NamespacePool
}

func (p pooledSource) DecodeShare() decodepool.NamespacePool { return p.share }

func (p pooledSource) ReadResource(_ context.Context, _ string) (recipe.Recipe, error) {
	return recipe.Recipe{Vault: "kv", MultipleItems: true, Searches: []recipe.Search{{Prefix: "shop-"}}}, nil
}

func (p pooledSource) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind == keyvault.KindSecretList {
		return keyvault.Object{Ref: ref, Entries: []keyvault.Entry{{Name: "shop-db"}, {Name: "other"}}}, nil
	}
	return keyvault.Object{Ref: ref, Version: "1", Value: keyvault.NewValue([]byte("value of " + ref.Name))}, nil
}

func TestValuesAreDecodedInTheShareOfTheNamespace(t *testing.T) {
	pool := decodepool.New(decodepool.Config{Workers: 2, Timeout: time.Minute})
	references := map[string]string{"A": "r@azurekeyvault?shop-db"}
	for range 2 { // the second time from memory
		values, err := resolver.Resolve(t.Context(), pooledSource{newSource(), pool.ForNamespace("shop")}, references)
		require.NoError(t, err)
		assert.Equal(t, "value of shop-db", string(values["A"]))
	}
	busy, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	share := pool.ForNamespace("busy")
	go func() {
		_, _ = share.Do(context.WithoutCancel(t.Context()), share.CacheKey("hang", nil), func(context.Context) (decodepool.Output, error) {
			close(busy)
			<-release
			return decodepool.Output{}, nil
		})
	}()
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := resolver.Resolve(ctx, pooledSource{newSource(), share}, references)
	assert.Equal(t, fault.Throttled, fault.KindOf(err), "what the namespace itself decodes is in its way")
	values, err := resolver.Resolve(t.Context(), pooledSource{newSource(), pool.ForNamespace("other")}, references)
	require.NoError(t, err, "but in nobody else's")
	assert.Equal(t, "value of shop-db", string(values["A"]))
}
