package breaker

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

func one(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

func TestADoorIsClosedBySilencesAloneAndNeverForLongerThanItsBound(t *testing.T) {
	now := time.Now()
	d := &Fetcher{config: Config{Clock: func() time.Time { return now }, MaxConcurrent: 4, MaxPerNamespace: 4, CallTimeout: 10 * time.Second}, breakers: map[key]*circuitBreaker{}}
	kv1 := key{vault: "kv1"}
	call := func(took time.Duration, err error) error {
		b, isProbe, refused := d.acquireBreaker(kv1)
		if refused != nil {
			return refused
		}
		d.recordOutcome(kv1, b, callOutcome{err: err, duration: took, isProbe: isProbe})
		return nil
	}
	silence := fault.New(fault.Unavailable, "no answer")
	for name, c := range map[string]struct {
		took time.Duration
		err  error
	}{
		"a quick failure": {time.Second, silence}, "a slow refusal": {9 * time.Second, fault.New(fault.Denied, "no")}, "a slow answer": {9 * time.Second, nil},
		"a slow error without a kind": {9 * time.Second, errors.New("x")},
	} {
		for range 3 * timeoutsToTrip {
			require.NoError(t, call(c.took, c.err), name)
		}
		assert.Empty(t, d.breakers, "nothing is kept of it: %s", name)
	}
	var waits []time.Duration
	for range timeoutsToTrip {
		now = now.Add(10 * time.Second)
		require.NoError(t, call(9*time.Second, silence))
		if d.breakers[kv1].consecutiveTimeouts < timeoutsToTrip {
			require.NoError(t, call(9*time.Second, ratelimit.BusyError("kv1", time.Second)), "a call that was not made says nothing of the vault")
		}
	}
	for range 8 {
		err := call(0, nil)
		require.Error(t, err)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		wait := d.breakers[kv1].retryAt.Sub(now)
		waits = append(waits, wait)
		now = now.Add(wait + 10*time.Second)
		require.NoError(t, call(9*time.Second, silence), "one call looks whether it answers again")
	}
	assert.Equal(t, []time.Duration{2, 4, 8, 16, 30, 30, 30, 30}, inSeconds(waits))
	now = now.Add(time.Minute)
	require.NoError(t, call(time.Second, nil))
	assert.Empty(t, d.breakers, "an answer opens it, and forgets")
	assert.LessOrEqual(t, len(d.breakers), limits.CircuitBreakers)
}

func inSeconds(times []time.Duration) (all []time.Duration) {
	for _, d := range times {
		all = append(all, d/time.Second)
	}
	return all
}

func TestADoorForgetsCallsThatDidNotGetInAndKeepsThoseThatDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Fetcher{config: Config{Clock: time.Now, MaxConcurrent: 1, MaxPerNamespace: 1, CallTimeout: time.Second}, breakers: map[key]*circuitBreaker{}}
		finish, err := d.admitCall(t.Context(), one("a"))
		require.NoError(t, err)
		_, err = d.admitCall(t.Context(), one("b"))
		require.Equal(t, fault.Throttled, fault.KindOf(err), "no place became free in time")
		inUse := d.breakers[key{vault: "kv1"}]
		for n := range limits.CircuitBreakers + 5 {
			at, _, err := d.acquireBreaker(key{vault: fmt.Sprint("v", n)})
			require.NoError(t, err)
			d.recordOutcome(key{vault: fmt.Sprint("v", n)}, at, callOutcome{err: fault.New(fault.Unavailable, "x"), duration: time.Second})
			require.LessOrEqual(t, len(d.breakers), limits.CircuitBreakers)
		}
		assert.Same(t, inUse, d.breakers[key{vault: "kv1"}], "room is made by those that nobody uses")
		finish(nil)
		assert.NotContains(t, d.breakers, key{vault: "kv1"}, "and it goes with its last call")
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
