package fallback_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/breaker"
	"github.com/akv2k8s/akv2k8s/src/keyvault/fallback"
)

// pair is vault kv1 with a configured response, and its fallback kv2.
type pair struct {
	first, second error
	silent        bool
	seconds       atomic.Int64
}

func (p *pair) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Vault == "kv2" {
		p.seconds.Add(1)
		return keyvault.Object{Ref: ref, Version: "of kv2"}, p.second
	}
	if p.silent {
		<-ctx.Done()
		return keyvault.Object{}, fault.New(fault.Unavailable, "silent")
	}
	return keyvault.Object{Ref: ref, Version: "of kv1"}, p.first
}

const callTimeout = 20 * time.Second

// opened reads the pair through circuit breakers, and limits the time of each read as the cache does.
type opened struct{ keyvault.Fetcher }

func (o opened) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return o.Fetcher.Fetch(ctx, ref)
}

func openPair(t *testing.T, p *pair) keyvault.Fetcher {
	t.Helper()
	guarded, err := breaker.New(p, breaker.Config{Clock: time.Now, MaxConcurrent: 4, CallTimeout: callTimeout})
	require.NoError(t, err)
	return opened{fallback.New(guarded, map[string]string{"kv1": "kv2"}, callTimeout)}
}

func ref(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

func TestTheFallbackIsReadOnlyIfTheVaultIsNotAvailable(t *testing.T) {
	for _, kind := range fault.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pair{first: fault.New(kind, "no")}
				o, err := openPair(t, p).Fetch(t.Context(), ref("a"))
				if kind != fault.Unavailable {
					assert.Equal(t, kind, fault.KindOf(err))
					assert.Zero(t, p.seconds.Load())
					return
				}
				require.NoError(t, err)
				assert.Equal(t, []any{"of kv2", "kv2", ref("a")}, []any{o.Version, o.FallbackVault, o.Ref})
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := &pair{}
		o, err := openPair(t, p).Fetch(t.Context(), ref("a"))
		require.NoError(t, err)
		assert.Equal(t, []any{"of kv1", "", int64(0)}, []any{o.Version, o.FallbackVault, p.seconds.Load()})
	})
}

func TestIfBothFailTheFirstOnesErrorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{first: fault.New(fault.Unavailable, "first"), second: fault.New(fault.Denied, "second")}
		_, err := openPair(t, p).Fetch(t.Context(), ref("a"))
		assert.EqualError(t, err, "first")
	})
}

func TestASilentVaultLeavesTimeForItsFallbackAndIsSoonNotWaitedForAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openPair(t, &pair{silent: true})
		for n := range 5 {
			began := time.Now()
			o, err := r.Fetch(t.Context(), ref("a"))
			require.NoError(t, err)
			assert.Equal(t, "kv2", o.FallbackVault)
			want := 12 * time.Second
			if n > 2 {
				want = 0
			}
			assert.Equal(t, want, time.Since(began))
		}
	})
}

func TestAListHasNoFallback(t *testing.T) {
	p := &pair{first: fault.New(fault.Unavailable, "no")}
	_, err := openPair(t, p).Fetch(t.Context(), keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecretList})
	assert.EqualError(t, err, "no")
	assert.Zero(t, p.seconds.Load())
}
