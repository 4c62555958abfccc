package reader

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func TestWhatMemoryKeepsAfterAnError(t *testing.T) {
	for kind, good := range map[fault.Kind]bool{fault.Unauthenticated: false, fault.Unavailable: true, fault.Throttled: true, fault.Bug: true, fault.Malformed: true} {
		m := remembering(10, 1<<20)
		m.put(said("a", 10))
		m.put(fetchResult{ref: said("a", 0).ref, err: fault.New(kind, "x")})
		known, ok := m.get(said("a", 0).ref)
		assert.Equal(t, good, ok && known.err == nil, kind)
	}
	m := remembering(2, 1<<20)
	m.put(said("a", 10))
	m.put(said("b", 10))
	m.get(said("a", 0).ref)
	m.put(said("c", 10))
	_, a := m.get(said("a", 0).ref)
	_, b := m.get(said("b", 0).ref)
	assert.Equal(t, []bool{true, false}, []bool{a, b}, "what was used last stays")
}

func TestWhatIsLookedAtInVainIsNotKeptForEver(t *testing.T) {
	now := time.Now()
	m := remembering(10, 1<<20)
	m.ttl = time.Minute
	old := said("a", 10)
	old.requestedAt, old.lastWantedAt, old.refreshInterval = now.Add(-limits.CachedAnswerAge-time.Second), now, 365*24*time.Hour
	m.put(old)
	m.removeExpired(now)
	_, ok := m.get(old.ref)
	assert.False(t, ok)
}

func TestADoorForgetsCallsThatDidNotGetInAndKeepsThoseThatDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &circuitBreakers{clock: time.Now, maxConcurrent: 1, maxPerNamespace: 1, callTimeout: time.Second, byKey: map[breakerKey]*circuitBreaker{}}
		leave, err := d.admitCall(t.Context(), one("a"))
		require.NoError(t, err)
		_, err = d.admitCall(t.Context(), one("b"))
		require.Equal(t, fault.Throttled, fault.KindOf(err), "no place became free in time")
		inUse := d.byKey[breakerKey{vault: "kv1"}]
		for n := range limits.CircuitBreakers + 5 {
			at, _, err := d.acquireBreaker(breakerKey{vault: fmt.Sprint("v", n)})
			require.NoError(t, err)
			d.recordOutcome(breakerKey{vault: fmt.Sprint("v", n)}, at, callOutcome{err: fault.New(fault.Unavailable, "x"), duration: time.Second})
			require.LessOrEqual(t, len(d.byKey), limits.CircuitBreakers)
		}
		assert.Same(t, inUse, d.byKey[breakerKey{vault: "kv1"}], "room is made by those that nobody uses")
		leave(nil)
		assert.NotContains(t, d.byKey, breakerKey{vault: "kv1"}, "and it goes with its last call")
	})
}

func TestNothingIsKeptOfANamespaceThatHoldsNoPlace(t *testing.T) {
	s := &namespaceSlots{free: 1, maxPerNamespace: 1, heldByNamespace: map[string]int{}}
	for n := range 100 {
		require.True(t, s.acquireSlot(t.Context(), fmt.Sprint("n", n)))
		s.releaseSlot(fmt.Sprint("n", n))
	}
	assert.Empty(t, s.heldByNamespace, "nothing is kept of a namespace that holds nothing")
}

func TestOfEqualNamespacesTheOldestWaiterIsServed(t *testing.T) {
	s := &namespaceSlots{maxPerNamespace: 2, heldByNamespace: map[string]int{"greedy": 1}}
	waiters := map[string]*slotWaiter{}
	for _, namespace := range []string{"greedy", "first", "second"} {
		waiters[namespace] = &slotWaiter{namespace: namespace, granted: make(chan struct{})}
		s.waiters = append(s.waiters, waiters[namespace])
	}
	for _, next := range []string{"first", "second", "greedy"} {
		s.free = 1
		s.grantFreeSlots()
		select {
		case <-waiters[next].granted:
		default:
			t.Fatalf("%s was not next", next)
		}
	}
	assert.Empty(t, s.waiters)
}

// fails returns an error for one vault.
type fails struct{ vault string }

func (f fails) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Vault == f.vault {
		return keyvault.Object{}, fault.New(fault.Unavailable, "no answer")
	}
	return keyvault.Object{Ref: ref, Version: "1"}, nil
}

// heardOf records the sources of results.
type heardOf struct{ from []string }

func (h *heardOf) RecordRead(_ keyvault.Ref, from string, _ error)          { h.from = append(h.from, from) }
func (h *heardOf) RecordChangeDetection(keyvault.Ref, string, string)       {}
func (h *heardOf) RecordListUnavailable(keyvault.Ref, error, time.Duration) {}

func TestTheLastAnswerServesUpToAnAgeAndEachSourceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &heardOf{}
		whole := Config{Fetcher: fails{"away"}, Clock: time.Now, MaxConcurrent: 1, CallTimeout: 10 * time.Second, CacheTTL: time.Hour, CacheEntries: 10, CacheBytes: 1 << 20,
			Fallbacks: map[string]string{"away": "second"}, Observer: told}
		r, err := New(whole)
		require.NoError(t, err)
		for range 2 {
			_, err = r.Read(t.Context(), one("a"), time.Minute)
			require.NoError(t, err)
		}
		_, err = r.Read(t.Context(), keyvault.Ref{Vault: "away", Kind: keyvault.KindSecret, Name: "a"}, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, []string{sourceVault, sourceCache, sourceFallback}, told.from)
		time.Sleep(30 * time.Second)
		_, ok := r.LastGood(one("a"), 29*time.Second)
		assert.False(t, ok, "it is older than that")
		_, ok = r.LastGood(one("a"), 31*time.Second)
		assert.True(t, ok)
		_, ok = r.LastGood(one("b"), time.Hour)
		assert.False(t, ok)
		for name, without := range map[string]func(*Config){
			"fetcher": func(c *Config) { c.Fetcher = nil }, "clock": func(c *Config) { c.Clock = nil }, "parallel": func(c *Config) { c.MaxConcurrent = 0 },
			"timeout": func(c *Config) { c.CallTimeout = 0 }, "keep": func(c *Config) { c.CacheTTL = 0 }, "entries": func(c *Config) { c.CacheEntries = 0 }, "bytes": func(c *Config) { c.CacheBytes = 0 },
		} {
			c := whole
			without(&c)
			_, err := New(c)
			assert.ErrorContains(t, err, "creating the reader", name)
		}
		time.Sleep(3 * time.Hour) // until the cache is empty and its timer has stopped
	})
}
