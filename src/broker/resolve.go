package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

// result is what became of one reference.
type result struct {
	value []byte
	err   error
}

// resolve answers every variable or none. References are looked up at once; the reader bounds how many calls that makes.
func (b *Broker) resolve(ctx context.Context, namespace string, asked map[string]string) (map[string][]byte, error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	results := map[string]result{}
	for _, text := range slices.Compact(slices.Sorted(maps.Values(asked))) {
		group.Go(func() {
			value, err := b.one(ctx, namespace, text)
			mu.Lock()
			defer mu.Unlock()
			results[text] = result{value, err}
		})
	}
	group.Wait()
	values := make(map[string][]byte, len(asked))
	for _, variable := range slices.Sorted(maps.Keys(asked)) {
		r := results[asked[variable]]
		if r.err != nil {
			return nil, explain(r.err, variable, asked[variable])
		}
		values[variable] = r.value
	}
	return values, nil
}

// explain says which variable it is about, and keeps what the error says of when to ask again.
func explain(err error, variable, text string) error {
	return &fault.Error{Kind: fault.KindOf(err), Doing: fmt.Sprintf("variable %s (%s)", variable, text), Cause: err, RetryAfter: fault.RetryAfter(err)}
}

func (b *Broker) one(ctx context.Context, namespace, text string) ([]byte, error) {
	ref, err := envref.Parse(text)
	if err != nil {
		return nil, err
	}
	what, err := b.recipe(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name})
	if err != nil {
		return nil, err
	}
	object, err := b.object(ctx, what.Ref())
	if err != nil {
		return nil, err
	}
	value, err := decode.Variable(what, object, ref.Query)
	if err != nil {
		return nil, err
	}
	content := value.Reveal()
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, fault.New(fault.Malformed, "the value holds a NUL byte, which no environment variable can; store it as base64")
	}
	return content, nil
}

// recipe reads the AzureKeyVaultSecret. One that the cache does not have may have been created a moment ago.
func (b *Broker) recipe(ctx context.Context, name types.NamespacedName) (recipe.Recipe, error) {
	var resource v2beta1.AzureKeyVaultSecret
	err := b.Cached.Get(ctx, name, &resource)
	if apierrors.IsNotFound(err) {
		err = b.Live.Get(ctx, name, &resource)
	}
	if apierrors.IsNotFound(err) {
		return recipe.Recipe{}, fault.New(fault.NotFound, "there is no AzureKeyVaultSecret %q in namespace %q; create it, or correct the name",
			name.Name, name.Namespace)
	}
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name.Name))
	}
	content, err := json.Marshal(&resource)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	return fromapi.Parse(content)
}

// object reads the vault. While the vault can't be asked, the last good answer serves, so that pods still start.
func (b *Broker) object(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	object, err := b.Vault.Read(ctx, ref, b.MaxAge)
	if err == nil || !fault.KindOf(err).Transient() {
		return object, err
	}
	if last, ok := b.Vault.Last(ref, b.StaleAge); ok {
		b.Metrics.stale.Inc()
		b.Log.Info("answering with the last value known", "object", ref.String(), "error", err.Error())
		return last, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return object, fault.New(fault.Unavailable, "reading %s took longer than %s", ref, requestTimeout)
	}
	return object, err
}
