package resolver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// source returns a value with the name for every name, and counts the reads.
type source struct {
	mu               sync.Mutex
	recipes, objects map[string]int
	value            func(name string) (string, error)
}

func newSource() *source {
	return &source{recipes: map[string]int{}, objects: map[string]int{}, value: func(name string) (string, error) { return "value of " + name, nil }}
}

func (s *source) ReadResource(_ context.Context, name string) (recipe.Recipe, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recipes[name]++
	if name == "absent" {
		return recipe.Recipe{}, fault.New(fault.NotFound, "create it")
	}
	return recipe.Recipe{Vault: "kv", Items: []recipe.Item{{Name: name, Type: decode.Secret}}}, nil
}

func (s *source) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[ref.Name]++
	value, err := s.value(ref.Name)
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte(value))}, err
}

func TestEachResourceIsReadOnce(t *testing.T) {
	s, asked := newSource(), map[string]string{"ONE": "a@azurekeyvault", "TWO": "a@azurekeyvault"}
	for n := range 100 {
		asked[fmt.Sprintf("V%d", n)] = fmt.Sprintf("n%d@azurekeyvault", n)
	}
	values, err := resolver.Resolve(t.Context(), s, asked)
	require.NoError(t, err)
	assert.Len(t, values, 102)
	assert.Equal(t, "value of a", string(values["ONE"]))
	assert.Equal(t, "value of a", string(values["TWO"]))
	assert.Equal(t, "value of n7", string(values["V7"]))
	assert.Len(t, s.recipes, 101)
	for name, times := range s.recipes {
		assert.Equal(t, 1, times, name)
		assert.Equal(t, 1, s.objects[name], name)
	}
}

// certificateSource has certificates and one resource with several objects, and records the reads.
type certificateSource struct{ reads chan keyvault.Ref }

func (w certificateSource) ReadResource(_ context.Context, name string) (recipe.Recipe, error) {
	r := recipe.Recipe{Vault: "kv", Items: []recipe.Item{{Name: name, Type: decode.Certificate}}}
	if name == "several" {
		r.MultipleItems, r.Items = true, []recipe.Item{{Name: "one", Type: decode.Secret, DataKey: "a"}, {Name: "two", Type: decode.Secret, DataKey: "b"}}
	}
	return r, nil
}

func (w certificateSource) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	w.reads <- ref
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte("value of " + ref.Name))}, nil
}

func TestACertificateAndItsKeyAreOfOneRead(t *testing.T) {
	for name, c := range map[string]struct {
		parts []string
		kind  keyvault.Kind
	}{
		"the public part needs no secret":       {[]string{"", "tls.crt", "raw"}, keyvault.KindCertificate},
		"with the key everything is the secret": {[]string{"", "tls.crt", "tls.key", "raw"}, keyvault.KindSecret},
	} {
		t.Run(name, func(t *testing.T) {
			w, asked := certificateSource{make(chan keyvault.Ref, 10)}, map[string]string{}
			for i, part := range c.parts {
				asked[fmt.Sprintf("V%d", i)] = "cert@azurekeyvault?" + part
			}
			_, _ = resolver.Resolve(t.Context(), w, asked)
			require.Len(t, w.reads, 1)
			assert.Equal(t, c.kind, (<-w.reads).Kind)
		})
	}
}

func TestOfSeveralObjectsOnlyTheNamedOneIsRead(t *testing.T) {
	w := certificateSource{make(chan keyvault.Ref, 10)}
	values, err := resolver.Resolve(t.Context(), w, map[string]string{"B": "several@azurekeyvault?b"})
	require.NoError(t, err)
	assert.Equal(t, "value of two", string(values["B"]))
	assert.Len(t, w.reads, 1)
	_, err = resolver.Resolve(t.Context(), w, map[string]string{"B": "several@azurekeyvault"})
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "of a, b")
}

func TestAllOrNothing(t *testing.T) {
	for name, c := range map[string]struct {
		reference string
		value     string
		err       error
		kind      fault.Kind
		says      string
	}{
		"no reference":           {"hunter2 @azurekeyvault", "", nil, fault.Invalid, "variable B"},
		"no resource":            {"absent@azurekeyvault", "", nil, fault.NotFound, "variable B (absent@azurekeyvault): create it"},
		"a query nobody knows":   {"b@azurekeyvault?what", "", nil, fault.Invalid, "variable B"},
		"a NUL byte":             {"b@azurekeyvault", "a\x00b", nil, fault.Malformed, "base64"},
		"a vault that is closed": {"b@azurekeyvault", "", &fault.Error{Kind: fault.Throttled, Operation: "wait", RetryAfter: time.Minute}, fault.Throttled, "variable B (b@azurekeyvault): wait"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			s.value = func(name string) (string, error) {
				if name == "b" {
					return c.value, c.err
				}
				return "canary-value", nil
			}
			values, err := resolver.Resolve(t.Context(), s, map[string]string{"A": "a@azurekeyvault", "B": c.reference})
			require.Error(t, err)
			assert.Empty(t, values)
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.Contains(t, err.Error(), c.says)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.NotContains(t, err.Error(), "canary")
			assert.Equal(t, fault.RetryAfter(c.err), fault.RetryAfter(err))
		})
	}
}

func TestMoreThanAProgramCanHaveIsNotGathered(t *testing.T) {
	s, asked := newSource(), map[string]string{}
	s.value = func(string) (string, error) { return strings.Repeat("x", 25_000), nil }
	for n := range 250 {
		asked[fmt.Sprintf("V%03d", n)] = "a@azurekeyvault"
	}
	values, err := resolver.Resolve(t.Context(), s, asked)
	require.NoError(t, err)
	assert.Len(t, values, 250)
	for n := range 10_000 {
		asked[fmt.Sprintf("V%03d", n)] = "a@azurekeyvault"
	}
	values, err = resolver.Resolve(t.Context(), s, asked)
	assert.Empty(t, values)
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "variable V1")
	assert.ErrorContains(t, err, "more than 6 MiB together")
}

// searchSource has a resource with a search, and the list for it.
type searchSource struct{ reads chan keyvault.Ref }

func (f searchSource) ReadResource(context.Context, string) (recipe.Recipe, error) {
	return recipe.Recipe{Vault: "kv", MultipleItems: true, Searches: []recipe.Search{{Prefix: "shop-", Source: "^shop-"}}}, nil
}

func (f searchSource) ReadObject(_ context.Context, _ recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	f.reads <- ref
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte("value of " + ref.Name)), Entries: []keyvault.Entry{{Name: "shop-a"}, {Name: "shop-b"}}}, nil
}

func TestObjectsOfOneRequestAreBoundedAndReserved(t *testing.T) {
	s := newSource()
	s.value = func(string) (string, error) { return strings.Repeat("x", 100<<10), nil }
	references := map[string]string{}
	for i := range limits.ObjectBytesPerRequest / (100 << 10) {
		references[fmt.Sprint("V", i)] = fmt.Sprintf("o%d@azurekeyvault", i)
	}
	reserved := 0
	r := resolver.Resolver{Source: s, ReserveBytes: func(bytes int) error { reserved += bytes; return nil }}
	require.NoError(t, r.Check(t.Context(), references))
	assert.Equal(t, len(references)*(100<<10), reserved, "a check holds them too")
	references["W"] = "one-more@azurekeyvault"
	for _, err := range []error{r.Check(t.Context(), references), resolver.Check(t.Context(), s, references)} {
		assert.ErrorContains(t, err, "name vault objects of more than 16 MiB together")
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	full := fault.New(fault.Throttled, "full")
	r.ReserveBytes = func(int) error { return full }
	_, err := r.Resolve(t.Context(), map[string]string{"A": "a@azurekeyvault"})
	assert.ErrorIs(t, err, full)
}

func TestWhatASearchFindsIsNamedByItsDataKey(t *testing.T) {
	s := searchSource{make(chan keyvault.Ref, 9)}
	values, err := resolver.Resolve(t.Context(), s, map[string]string{"A": "shop@azurekeyvault?a"})
	require.NoError(t, err)
	assert.Equal(t, "value of shop-a", string(values["A"]))
	assert.Equal(t, keyvault.KindSecretList, (<-s.reads).Kind)
	assert.Equal(t, "shop-a", (<-s.reads).Name)
	assert.Empty(t, s.reads, "the others are not read")
	_, err = resolver.Resolve(t.Context(), s, map[string]string{"A": "shop@azurekeyvault?c"})
	assert.Equal(t, fault.Invalid, fault.KindOf(err))
	assert.ErrorContains(t, err, "a, b")
}
