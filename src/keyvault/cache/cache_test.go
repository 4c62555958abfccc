package cache_test

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/breaker"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
)

// vault responds after a second and counts its calls.
type vault struct {
	calls, atOnce, most, given atomic.Int64
	err                        atomic.Pointer[error]
}

func (v *vault) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	n := v.calls.Add(1)
	at := v.atOnce.Add(1)
	defer v.atOnce.Add(-1)
	for most := v.most.Load(); at > most && !v.most.CompareAndSwap(most, at); most = v.most.Load() {
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		v.given.Add(1)
		return keyvault.Object{}, fault.New(fault.Unavailable, "given up")
	}
	if err := v.err.Load(); err != nil && *err != nil {
		return keyvault.Object{}, *err
	}
	return keyvault.Object{Ref: ref, Version: fmt.Sprint(n)}, nil
}

func (v *vault) fail(err error) { v.err.Store(&err) }

// reader reads through a cache and circuit breakers.
type reader struct{ *cache.Cache }

func (r reader) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	purpose := keyvault.PurposeOf(ctx)
	purpose.MaxAge = maxAge
	return r.Fetch(keyvault.WithPurpose(ctx, purpose), ref)
}

// openWith returns a reader with these settings; the other ones have defaults.
func openWith(t *testing.T, f keyvault.Fetcher, c cache.Config) reader {
	t.Helper()
	c.Clock, c.CallTimeout = time.Now, cmp.Or(c.CallTimeout, 10*time.Second)
	guarded, err := breaker.New(f, breaker.Config{Clock: c.Clock, MaxConcurrent: 4, CallTimeout: c.CallTimeout})
	require.NoError(t, err)
	cached, err := cache.New(guarded, c)
	require.NoError(t, err)
	return reader{cached}
}

func open(t *testing.T, f keyvault.Fetcher) reader {
	t.Helper()
	return openWith(t, f, cache.Config{TTL: time.Hour, Entries: 100, Bytes: 1 << 20})
}

func ref(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

const age = 10 * time.Second

func TestConcurrentEqualReadsAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				o, err := r.Read(t.Context(), ref("a"), age)
				assert.NoError(t, err)
				assert.Equal(t, "1", o.Version)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, v.calls.Load())
	})
}

func TestAnAnswerIsSharedWhileItIsYoungEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		read := func() string {
			o, err := r.Read(t.Context(), ref("a"), age)
			require.NoError(t, err)
			return o.Version
		}
		assert.Equal(t, "1", read())
		time.Sleep(8 * time.Second) // the call began 9 seconds ago
		assert.Equal(t, "1", read())
		time.Sleep(time.Second)
		assert.Equal(t, "2", read(), "age counts from when the vault was asked")
		o, err := r.Read(t.Context(), ref("a"), 0)
		require.NoError(t, err)
		assert.Equal(t, "3", o.Version, "with 0 nothing is shared")
	})
}

func TestDifferentObjectsAreNeverMixedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		refs := []keyvault.Ref{ref("a"), ref("b"), {Vault: "kv2", Kind: keyvault.KindSecret, Name: "a"},
			{Vault: "kv1", Kind: keyvault.KindKey, Name: "a"}, {Vault: "kv1", Kind: keyvault.KindSecret, Name: "a", Version: "1"}}
		for _, want := range refs {
			o, err := r.Read(t.Context(), want, age)
			require.NoError(t, err)
			assert.Equal(t, want, o.Ref)
		}
		assert.EqualValues(t, len(refs), v.calls.Load())
	})
}

func TestOneWaiterLeavingDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := r.Read(hasty, ref("a"), age)
			assert.Equal(t, fault.Unavailable, fault.KindOf(err))
		})
		group.Go(func() {
			_, err := r.Read(t.Context(), ref("a"), age)
			assert.NoError(t, err)
		})
		group.Wait()
		assert.EqualValues(t, 1, v.calls.Load())
	})
}

func TestACallEndsWhenNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.Read(hasty, ref("a"), age)
		require.Error(t, err)
		synctest.Wait()
		assert.EqualValues(t, 1, v.given.Load())
		o, err := r.Read(t.Context(), ref("a"), age)
		require.NoError(t, err)
		assert.Equal(t, "2", o.Version, "a given-up call must not be joined")
	})
}

func TestRefusalsAreSharedShortlyAndReplaceWhatWasKnown(t *testing.T) {
	for _, kind := range []fault.Kind{fault.NotFound, fault.Denied, fault.Disabled} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{}
				r := open(t, v)
				_, err := r.Read(t.Context(), ref("a"), time.Hour)
				require.NoError(t, err)
				v.fail(fault.New(kind, "no"))
				_, err = r.Read(t.Context(), ref("a"), 0)
				assert.Equal(t, kind, fault.KindOf(err))
				_, ok := r.LastGood(ref("a"), time.Hour)
				assert.False(t, ok, "who lost access is not served from memory")
				_, err = r.Read(t.Context(), ref("a"), time.Hour)
				assert.Equal(t, kind, fault.KindOf(err))
				assert.EqualValues(t, 2, v.calls.Load(), "a crash loop must not hammer the vault")
				v.fail(nil)
				time.Sleep(10 * time.Second)
				_, err = r.Read(t.Context(), ref("a"), time.Hour)
				assert.NoError(t, err, "a repair is seen within ten seconds")
			})
		})
	}
}

func TestTroubleIsNeitherSharedNorForgetsTheLastGoodAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		_, ok := r.LastGood(ref("a"), time.Hour)
		assert.False(t, ok)
		_, err := r.Read(t.Context(), ref("a"), age)
		require.NoError(t, err)
		v.fail(fault.New(fault.Unavailable, "down"))
		for range 2 {
			_, err = r.Read(t.Context(), ref("a"), 0)
			assert.Equal(t, fault.Unavailable, fault.KindOf(err))
		}
		assert.EqualValues(t, 3, v.calls.Load())
		o, ok := r.LastGood(ref("a"), time.Hour)
		assert.True(t, ok)
		assert.Equal(t, "1", o.Version)
		time.Sleep(2 * time.Hour)
		_, ok = r.LastGood(ref("a"), time.Hour)
		assert.False(t, ok, "its age is bounded")
		v.fail(fault.New(fault.Unauthenticated, "bad token"))
		_, err = r.Read(t.Context(), ref("a"), 0)
		require.Error(t, err)
		_, ok = r.LastGood(ref("a"), 24*time.Hour)
		assert.False(t, ok)
	})
}

func TestCallsAndMemoryAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		var group sync.WaitGroup
		var putOff atomic.Int64
		for i := range 40 {
			group.Go(func() {
				if _, err := r.Read(t.Context(), ref(fmt.Sprint(i)), age); err != nil {
					assert.True(t, ratelimit.IsDeferred(err), err)
					putOff.Add(1)
				}
			})
		}
		group.Wait()
		assert.EqualValues(t, 4, v.most.Load())
		assert.EqualValues(t, 40, v.calls.Load()+putOff.Load())
		assert.GreaterOrEqual(t, v.calls.Load(), int64(8))
		for i := range 200 {
			_, err := r.Read(t.Context(), ref(fmt.Sprint("more", i)), age)
			require.NoError(t, err)
		}
		_, ok := r.LastGood(ref("0"), 24*time.Hour)
		assert.False(t, ok, "the oldest answers go first")
		_, ok = r.LastGood(ref("more199"), 24*time.Hour)
		assert.True(t, ok)
	})
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	whole := cache.Config{Clock: time.Now, CallTimeout: 10 * time.Second, TTL: time.Hour, Entries: 10, Bytes: 1 << 20}
	_, err := cache.New(&vault{}, whole)
	require.NoError(t, err)
	_, err = cache.New(nil, whole)
	require.ErrorContains(t, err, "cache.New: missing or invalid: ")
	for name, without := range map[string]func(*cache.Config){
		"clock": func(c *cache.Config) { c.Clock = nil }, "timeout": func(c *cache.Config) { c.CallTimeout = 0 }, "keep": func(c *cache.Config) { c.TTL = 0 },
		"entries": func(c *cache.Config) { c.Entries = 0 }, "bytes": func(c *cache.Config) { c.Bytes = 0 },
	} {
		c := whole
		without(&c)
		_, err := cache.New(&vault{}, c)
		assert.ErrorContains(t, err, "cache.New: missing or invalid: ", name)
	}
}

func TestOldAnswersLeaveMemoryAlsoIfTheyAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openWith(t, &vault{}, cache.Config{TTL: time.Minute, Entries: 100, Bytes: 1 << 20})
		_, err := r.Read(t.Context(), ref("a"), age)
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = r.Read(t.Context(), ref("b"), age)
		require.NoError(t, err)
		_, there := r.LastGood(ref("a"), time.Hour)
		assert.False(t, there, "a secret stays no longer than it is of use")
		_, there = r.LastGood(ref("b"), time.Hour)
		assert.True(t, there)
	})
}

func TestAPinnedVersionIsKnownLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		r := open(t, v)
		pinned := ref("a")
		pinned.Version = "1"
		pod, refresh := keyvault.WithPurpose(t.Context(), keyvault.Purpose{Priority: keyvault.PriorityPodStart}), t.Context()
		read := func(ctx context.Context, maxAge time.Duration) {
			_, err := r.Read(ctx, pinned, maxAge)
			require.NoError(t, err)
		}
		read(pod, age)
		time.Sleep(20 * time.Second)
		read(pod, age)
		assert.EqualValues(t, 1, v.calls.Load())
		time.Sleep(10 * time.Second)
		read(pod, age)
		assert.EqualValues(t, 2, v.calls.Load(), "not for ever: it may be disabled, or access be lost")
		read(pod, 0)
		assert.EqualValues(t, 3, v.calls.Load(), "whoever wants it fresh gets it")
		time.Sleep(10 * time.Second)
		read(refresh, age)
		assert.EqualValues(t, 4, v.calls.Load(), "a refresh looks")
	})
}

func TestNothingStaysInMemoryWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &vault{})
		_, err := r.Read(t.Context(), ref("a"), age)
		require.NoError(t, err)
		time.Sleep(30 * time.Minute)
		_, there := r.LastGood(ref("a"), 24*time.Hour)
		assert.True(t, there)
		time.Sleep(2 * time.Hour)
		_, there = r.LastGood(ref("a"), 24*time.Hour)
		assert.False(t, there)
	})
}
