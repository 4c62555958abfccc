package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// All tests in this file run in testing/synctest bubbles, where time.Sleep only advances a fake clock.

// crowd calls more other vaults than the limit on tracked vaults, once each, so idle ones are evicted.
func (b *bench) crowd() {
	b.Helper()
	over, cancel := context.WithCancel(b.Context())
	cancel()
	for i := range limits.RateLimitedVaults + 10 {
		if i == limits.RateLimitedVaults-10 {
			time.Sleep(30 * time.Millisecond)
		}
		_ = b.call(over, "a", fmt.Sprint("other", i), 0, ok)
	}
}

func TestAVaultIsNotForgottenWhileItsPaceMatters(t *testing.T) {
	for name, c := range map[string]struct {
		inAll int
		// use the vault "kv", and end the calls that were started.
		use func(*bench) (end func())
	}{
		"a call is on its way": {use: func(b *bench) func() {
			leave, err := b.Acquire(b.Context(), "kv")
			require.NoError(b, err)
			time.Sleep(time.Hour)
			return func() { leave(ok) }
		}},
		"a call waits for the limit of all vaults": {inAll: 2, use: func(b *bench) func() {
			require.NoError(b, b.call(b.Context(), "a", "first", 0, ok))
			done := make(chan error, 1)
			go func() { done <- b.call(b.Context(), "a", "kv", 0, ok) }()
			synctest.Wait()
			return func() { assert.NoError(b, <-done) }
		}},
		"it was called as often as is allowed": {use: func(b *bench) func() {
			for range 500 {
				require.NoError(b, b.call(b.Context(), "a", "kv", 0, ok))
			}
			return func() {}
		}},
		"it refused a call a minute ago": {use: func(b *bench) func() {
			require.NoError(b, b.call(b.Context(), "a", "kv", 0, ratelimit.Response{Status: 429}))
			time.Sleep(time.Minute)
			return func() {}
		}},
		"it asked for a pause": {use: func(b *bench) func() {
			require.NoError(b, b.call(b.Context(), "a", "kv", 0, ratelimit.Response{Status: 503, RetryAfter: time.Minute}))
			time.Sleep(30 * time.Second)
			return func() {}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, ratelimit.Config{VaultLimit: 1000, TotalLimit: c.inAll, MaxConcurrent: 1})
				end := c.use(b)
				b.crowd()
				assert.True(t, b.TracksVault("kv"))
				end()
				time.Sleep(time.Hour)
				b.crowd()
				assert.False(t, b.TracksVault("kv"), "later it rests like any other")
				assert.LessOrEqual(t, b.TrackedVaults(), limits.RateLimitedVaults)
			})
		})
	}
}

func TestABrakeThatLeavesLessThanACallASecondLeavesSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 20, MaxConcurrent: 32}) // one per second
		refresh := as(t.Context(), "n", keyvault.PriorityRefresh)
		require.NoError(t, b.call(refresh, "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Second)
		assert.InDelta(t, 5, b.within(refresh, time.Minute), 2, "a sixteenth of one a second, and a little more each second")
	})
}

func TestASecondRefusalNeverLetsMoreLooksThroughThanTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 2000, MaxConcurrent: 32}) // 100 per second
		refresh, urgent := as(t.Context(), "n", keyvault.PriorityRefresh), as(t.Context(), "n", keyvault.PriorityPodStart)
		require.NoError(t, b.call(refresh, "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Minute)
		for range 900 { // pods start
			require.NoError(t, b.call(urgent, "a", "kv", 0, ok))
			time.Sleep(12 * time.Millisecond)
		}
		before := b.within(refresh, time.Second)
		require.NoError(t, b.call(urgent, "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Second)
		assert.LessOrEqual(t, b.within(refresh, time.Second), before, "what pods called is not what looks may call")
	})
}

func TestOnlyAnAnswerToALaterCallEndsTheDoublingOfPauses(t *testing.T) {
	// pause rejects a call without a Retry-After and returns the length of the pause.
	pause := func(b *bench) time.Duration {
		b.Helper()
		require.NoError(b, b.call(b.Context(), "a", "kv", 0, ratelimit.Response{Status: 429}))
		closed := time.Now()
		for b.call(b.Context(), "a", "kv", 0, ratelimit.Response{}) != nil {
			time.Sleep(100 * time.Millisecond)
		}
		return time.Since(closed).Round(time.Second)
	}
	for name, c := range map[string]struct {
		between func(b *bench, early func(ratelimit.Response))
		then    time.Duration
	}{
		"nothing was answered": {func(b *bench, _ func(ratelimit.Response)) {
			_ = b.call(b.Context(), "a", "kv", 0, ratelimit.Response{})
		}, 4 * time.Second},
		"what was on its way is answered":     {func(_ *bench, early func(ratelimit.Response)) { early(ok) }, 4 * time.Second},
		"a call that came later was answered": {func(b *bench, _ func(ratelimit.Response)) { _ = b.call(b.Context(), "a", "kv", 0, ok) }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, ratelimit.Config{VaultLimit: 2000, MaxConcurrent: 32})
				early, err := b.Acquire(t.Context(), "kv")
				require.NoError(t, err)
				time.Sleep(time.Second)
				require.Equal(t, time.Second, pause(b))
				require.Equal(t, 2*time.Second, pause(b))
				c.between(b, early)
				assert.Equal(t, c.then, pause(b))
			})
		})
	}
}

func TestEachPartOfTheConfigurationIsRequired(t *testing.T) {
	whole := ratelimit.Config{Clock: time.Now, VaultLimit: 1, TotalLimit: 1, MaxConcurrent: 1}
	_, err := ratelimit.New(whole)
	require.NoError(t, err)
	for name, without := range map[string]func(*ratelimit.Config){
		"clock":    func(c *ratelimit.Config) { c.Clock = nil },
		"perVault": func(c *ratelimit.Config) { c.VaultLimit = 0 },
		"inAll":    func(c *ratelimit.Config) { c.TotalLimit = 0 },
		"parallel": func(c *ratelimit.Config) { c.MaxConcurrent = 0 },
	} {
		c := whole
		without(&c)
		_, err := ratelimit.New(c)
		assert.ErrorContains(t, err, "ratelimit.New: missing or invalid: ", name)
	}
}

// line queues calls to a vault in this order, while another vault uses the last call of the total limit, and returns
// the order of admission.
func line(t *testing.T, calls ...keyvault.Purpose) (order []string, b *bench) {
	t.Helper()
	b = newBench(t, ratelimit.Config{VaultLimit: 1000, TotalLimit: 2, MaxConcurrent: 1})
	require.NoError(t, b.call(t.Context(), "", "other", 0, ok))
	done := make(chan error, len(calls))
	for _, p := range calls {
		go func() { done <- b.call(keyvault.WithPurpose(t.Context(), p), p.Namespace, "kv", 0, ok) }()
		synctest.Wait()
	}
	for range calls {
		require.NoError(t, <-done)
	}
	return b.order()[1:], b
}

func TestTheOrderOfCallsIsThatOfUrgencyThenOfNamespacesThenOfTime(t *testing.T) {
	call := func(namespace string, p keyvault.Priority) keyvault.Purpose {
		return keyvault.Purpose{Namespace: namespace, Priority: p}
	}
	for name, c := range map[string]struct {
		calls []keyvault.Purpose
		order []string
	}{
		"the urgent one came first": {[]keyvault.Purpose{call("pod", keyvault.PriorityPodStart), call("look", keyvault.PriorityRefresh)}, []string{"pod", "look"}},
		"the urgent one came last":  {[]keyvault.Purpose{call("look", keyvault.PriorityRefresh), call("pod", keyvault.PriorityPodStart)}, []string{"pod", "look"}},
		"equals come in their order": {[]keyvault.Purpose{call("a", keyvault.PriorityRefresh), call("b", keyvault.PriorityRefresh), call("c", keyvault.PriorityRefresh)},
			[]string{"a", "b", "c"}},
		"one namespace does not have two turns in a row": {[]keyvault.Purpose{call("a", keyvault.PriorityRefresh), call("a", keyvault.PriorityRefresh), call("b", keyvault.PriorityRefresh)},
			[]string{"a", "b", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				order, _ := line(t, c.calls...)
				assert.Equal(t, c.order, order)
			})
		})
	}
}

func TestTurnsOfNamespacesAreForgottenWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []keyvault.Purpose
		for i := range 20 {
			calls = append(calls, keyvault.Purpose{Namespace: fmt.Sprint("n", i)})
		}
		_, b := line(t, calls...)
		assert.LessOrEqual(t, b.TrackedNamespaces("kv"), 1)
	})
}
