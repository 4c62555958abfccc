package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

func TestAReferenceIsDecodedOnceHoweverManyVariablesHaveIt(t *testing.T) {
	kept, asked := []int{}, map[string]string{"OTHER": "b@azurekeyvault"}
	for n := range 20_000 {
		asked[fmt.Sprintf("V%d", n)] = "a@azurekeyvault"
	}
	r := resolver.Resolver{Source: newSource(), ReserveBytes: func(bytes int) error { kept = append(kept, bytes); return nil }}
	values, err := r.Resolve(t.Context(), asked)
	require.NoError(t, err)
	assert.Len(t, values, 20_001)
	assert.Equal(t, []int{len("value of a"), len("value of b"), len("value of b"), len("value of a")}, kept,
		"two objects, and two values")
	assert.Same(t, &values["V1"][0], &values["V19999"][0], "the bytes are there once")
	require.NoError(t, r.Check(t.Context(), asked))
	assert.Len(t, kept, 6, "a check holds the objects, and keeps no values")
}

func TestNothingIsDecodedForARequestThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const objects = 100
	asked := map[string]string{}
	for n := range objects {
		asked[fmt.Sprintf("V%d", n)] = fmt.Sprintf("n%d@azurekeyvault", n)
	}
	// endAt resolves with a context that ends at the n-th reservation, and returns the number of reservations.
	endAt := func(n int) (reservations int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := resolver.Resolver{Source: newSource(), ReserveBytes: func(int) error {
			if reservations++; reservations == n {
				cancel()
			}
			return nil
		}}
		_, err := r.Resolve(ctx, asked)
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
		assert.ErrorIs(t, err, context.Canceled)
		return reservations
	}
	assert.LessOrEqual(t, endAt(1), limits.ParallelReadsPerRequest, "only reads that had begun are finished")
	assert.Equal(t, objects, endAt(objects), "nothing is decoded after all objects were read")
	assert.Equal(t, objects+1, endAt(objects+1), "nothing is decoded after the first value")
	cancel()
	s := newSource()
	for _, err := range []error{resolver.Check(ctx, s, asked), func() error { _, err := resolver.Resolve(ctx, s, asked); return err }()} {
		assert.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
		assert.Empty(t, s.recipes, "and nothing is read")
	}
}

func TestWhatMayNotBeKeptEndsTheWork(t *testing.T) {
	full := errors.New("full")
	r := resolver.Resolver{Source: newSource(), ReserveBytes: func(int) error { return full }}
	values, err := r.Resolve(t.Context(), map[string]string{"A": "a@azurekeyvault"})
	assert.ErrorIs(t, err, full)
	assert.Empty(t, values)
}

func TestTooManyReferencesOrResourcesAreRefusedBeforeAnyIsRead(t *testing.T) {
	for says, reference := range map[string]func(int) string{
		"more than 500 AzureKeyVaultSecrets":   func(n int) string { return fmt.Sprintf("n%d@azurekeyvault", n) },
		"more than 2,000 different references": func(n int) string { return fmt.Sprintf("n%d@azurekeyvault?%d", n%400, n) },
	} {
		s, asked := newSource(), map[string]string{}
		for n := range limits.ReferencesPerRequest + 1 {
			asked[fmt.Sprintf("V%d", n)] = reference(n)
		}
		_, err := resolver.Resolve(t.Context(), s, asked)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		assert.ErrorContains(t, err, says)
		assert.Empty(t, s.recipes)
	}
}

func TestAValueThatCannotBeMadeIsAnErrorForValuesAndChecks(t *testing.T) {
	s, asked := newSource(), map[string]string{"A": "a@azurekeyvault", "B": "b@azurekeyvault?username"}
	s.value = func(string) (string, error) { return "no colon", nil }
	values, err := resolver.Resolve(t.Context(), s, asked)
	assert.ErrorContains(t, err, "variable B (b@azurekeyvault?username)")
	assert.Empty(t, values)
	assert.ErrorContains(t, resolver.Check(t.Context(), s, asked), "variable B")
}

// failingListSource is a source whose vault denies lists.
type failingListSource struct{ searchSource }

func (failingListSource) ReadObject(context.Context, recipe.Recipe, keyvault.Ref) (keyvault.Object, error) {
	return keyvault.Object{}, fault.New(fault.Denied, "no list")
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	err := resolver.Check(t.Context(), failingListSource{}, map[string]string{"A": "shop@azurekeyvault?a"})
	assert.Equal(t, fault.Denied, fault.KindOf(err))
	assert.ErrorContains(t, err, "no list")
}
