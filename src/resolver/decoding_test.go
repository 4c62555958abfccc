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

// pooled is a source with a share of a decode pool. Its resource searches secrets by name.
type pooled struct {
	*source
	share decodepool.Share
}

func (p pooled) Decoding() decodepool.Share { return p.share }

func (p pooled) Recipe(_ context.Context, _ string) (recipe.Recipe, error) {
	return recipe.Recipe{Vault: "kv", Several: true, Searches: []recipe.Search{{Prefix: "shop-"}}}, nil
}

func (p pooled) Object(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind == keyvault.KindSecretList {
		return keyvault.Object{Ref: ref, Entries: []keyvault.Entry{{Name: "shop-db"}, {Name: "other"}}}, nil
	}
	return keyvault.Object{Ref: ref, Version: "1", Value: keyvault.NewValue([]byte("value of " + ref.Name))}, nil
}

func TestValuesAreDecodedInTheShareOfTheNamespace(t *testing.T) {
	pool := decodepool.New(decodepool.Config{Workers: 2, Time: time.Minute})
	references := map[string]string{"A": "r@azurekeyvault?shop-db"}
	for range 2 { // the second time from memory
		values, err := resolver.Resolve(t.Context(), pooled{newSource(), pool.For("shop")}, references)
		require.NoError(t, err)
		assert.Equal(t, "value of shop-db", string(values["A"]))
	}
	busy, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	share := pool.For("busy")
	go func() {
		_, _ = share.Do(context.WithoutCancel(t.Context()), share.Key("hang", nil), func(context.Context) (decodepool.Output, error) {
			close(busy)
			<-release
			return decodepool.Output{}, nil
		})
	}()
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := resolver.Resolve(ctx, pooled{newSource(), share}, references)
	assert.Equal(t, fault.Throttled, fault.KindOf(err), "what the namespace itself decodes is in its way")
	values, err := resolver.Resolve(t.Context(), pooled{newSource(), pool.For("other")}, references)
	require.NoError(t, err, "but in nobody else's")
	assert.Equal(t, "value of shop-db", string(values["A"]))
}
