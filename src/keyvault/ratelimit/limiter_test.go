package ratelimit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
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

var ok = ratelimit.Response{Status: 200}

// bench records the time of each call.
type bench struct {
	*testing.T
	*ratelimit.Limiter
	started time.Time

	mu    sync.Mutex
	calls []call
}

type call struct {
	who string
	at  time.Duration
}

func newBench(t *testing.T, c ratelimit.Config) *bench {
	t.Helper()
	c.Clock = time.Now
	if c.TotalLimit == 0 {
		c.TotalLimit = 100000
	}
	g, err := ratelimit.New(c)
	require.NoError(t, err)
	return &bench{T: t, Limiter: g, started: time.Now()}
}

// call makes one call with the given duration and returns the error of Acquire.
func (b *bench) call(ctx context.Context, who, vault string, takes time.Duration, a ratelimit.Response) error {
	leave, err := b.Acquire(ctx, vault)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.calls = append(b.calls, call{who, time.Since(b.started)})
	b.mu.Unlock()
	time.Sleep(takes)
	leave(a)
	return nil
}

func (b *bench) order() (names []string) {
	for _, c := range b.calls {
		names = append(names, c.who)
	}
	return names
}

// most returns the largest number of calls in any ten seconds.
func (b *bench) most() (most int) {
	for _, first := range b.calls {
		n := 0
		for _, c := range b.calls {
			if c.at >= first.at && c.at < first.at+10*time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func as(ctx context.Context, namespace string, p keyvault.Priority) context.Context {
	return keyvault.WithPurpose(ctx, keyvault.Purpose{Namespace: namespace, Priority: p})
}

func TestAnIdleVaultIsCalledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 1200, MaxConcurrent: 32})
		for range 600 {
			require.NoError(t, b.call(t.Context(), "a", "kv", 0, ok))
		}
		assert.Zero(t, time.Since(b.started))
	})
}

func TestNoTenSecondsSeeMoreThanTheLimit(t *testing.T) {
	for name, c := range map[string]struct {
		config ratelimit.Config
		vaults int
		limit  int
	}{
		"of one vault":  {ratelimit.Config{VaultLimit: 100, MaxConcurrent: 32}, 1, 100},
		"of all vaults": {ratelimit.Config{VaultLimit: 100, TotalLimit: 120, MaxConcurrent: 32}, 4, 120},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, c.config)
				var group sync.WaitGroup
				for i := range 500 {
					group.Go(func() {
						assert.NoError(t, b.call(t.Context(), "a", fmt.Sprint("kv", i%c.vaults), 5*time.Millisecond, ok))
					})
				}
				group.Wait()
				assert.Len(t, b.calls, 500)
				assert.LessOrEqual(t, b.most(), c.limit)
				assert.Greater(t, b.most(), c.limit*8/10, "and little less")
			})
		})
	}
}

func TestAPauseIsKeptByAllCallersOfThatVault(t *testing.T) {
	for name, c := range map[string]struct {
		answer ratelimit.Response
		pause  time.Duration
	}{
		"429 with a time":         {ratelimit.Response{Status: 429, RetryAfter: 7 * time.Second}, 7 * time.Second},
		"429 without a time":      {ratelimit.Response{Status: 429}, time.Second},
		"503 with a time":         {ratelimit.Response{Status: 503, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"500 with a time":         {ratelimit.Response{Status: 500, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"429 with an absurd time": {ratelimit.Response{Status: 429, RetryAfter: 1000 * time.Hour}, limits.VaultRetryAfter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, ratelimit.Config{VaultLimit: 1000, MaxConcurrent: 1})
				var group sync.WaitGroup
				group.Go(func() { assert.NoError(t, b.call(t.Context(), "first", "kv", time.Second, c.answer)) })
				synctest.Wait()
				group.Go(func() {
					err := b.call(t.Context(), "queued", "kv", 0, ok)
					assert.True(t, ratelimit.IsDeferred(err), "whoever waits is sent away: %v", err)
				})
				group.Wait()
				require.NoError(t, b.call(t.Context(), "other", "kv2", 0, ok), "another vault is another matter")
				for range 2 {
					err := b.call(t.Context(), "early", "kv", 0, ok)
					assert.True(t, ratelimit.IsDeferred(err))
					assert.Equal(t, fault.Throttled, fault.KindOf(err))
					assert.Equal(t, c.pause, fault.RetryAfter(err))
					assert.ErrorContains(t, err, `vault "kv"`)
				}
				time.Sleep(c.pause - time.Millisecond)
				assert.Error(t, b.call(t.Context(), "early", "kv", 0, ok))
				time.Sleep(time.Millisecond)
				assert.NoError(t, b.call(t.Context(), "again", "kv", 0, ok))
				assert.Equal(t, []string{"first", "other", "again"}, b.order())
			})
		})
	}
}

func TestOtherTroubleIsNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 1000, MaxConcurrent: 1})
		for _, status := range []int{503, 500, 403, 0} {
			require.NoError(t, b.call(t.Context(), "a", "kv", 0, ratelimit.Response{Status: status}))
		}
		assert.Zero(t, time.Since(b.started))
	})
}

func TestPausesWithoutATimeDoubleUntilTheVaultAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 1000, MaxConcurrent: 4})
		pause := func(a ratelimit.Response) time.Duration {
			require.NoError(t, b.call(t.Context(), "a", "kv", time.Millisecond, a))
			err := b.call(t.Context(), "b", "kv", 0, ok)
			time.Sleep(fault.RetryAfter(err))
			return fault.RetryAfter(err)
		}
		var pauses []time.Duration
		for range 7 {
			pauses = append(pauses, pause(ratelimit.Response{Status: 429}))
		}
		assert.Equal(t, []time.Duration{1, 2, 4, 8, 16, 30, 30}, seconds(pauses))
		require.NoError(t, b.call(t.Context(), "a", "kv", 0, ok))
		assert.Equal(t, time.Second, pause(ratelimit.Response{Status: 429}))
	})
}

func seconds(times []time.Duration) (in []time.Duration) {
	for _, d := range times {
		in = append(in, d/time.Second)
	}
	return in
}

func TestCallsThatWereOnTheirWayAreOneRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 1000, MaxConcurrent: 32})
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				assert.NoError(t, b.call(t.Context(), "a", "kv", 10*time.Millisecond, ratelimit.Response{Status: 429}))
			})
		}
		group.Wait()
		assert.Equal(t, time.Second, fault.RetryAfter(b.call(t.Context(), "a", "kv", 0, ok)))
	})
}

func TestARefusalHalvesTheRateWhichThenGrowsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 2000, MaxConcurrent: 32}) // 100 a second
		urgent := as(t.Context(), "n", keyvault.PriorityPodStart)
		require.NoError(t, b.call(urgent, "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Second)
		in := func(d time.Duration) (n int) {
			ctx, cancel := context.WithTimeout(urgent, d)
			defer cancel()
			for ctx.Err() == nil && b.call(ctx, "a", "kv", 0, ok) == nil {
				n++
			}
			return n
		}
		assert.InDelta(t, 102, in(time.Second), 4, "half, of two seconds")
		time.Sleep(time.Minute)
		in(time.Second)
		assert.InDelta(t, 100, in(time.Second), 2, "a minute later it is as before")
		for range 40 {
			if b.call(urgent, "a", "kv", 0, ratelimit.Response{Status: 429}) != nil {
				time.Sleep(30 * time.Second)
			}
		}
		time.Sleep(30 * time.Second)
		assert.Positive(t, in(10*time.Second), "something is always left")
	})
}

// within makes calls one after the other and counts those made in the given time.
func (b *bench) within(ctx context.Context, d time.Duration) (n int) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ctx.Err() == nil && b.call(ctx, "a", "kv", 0, ok) == nil {
		n++
	}
	return n
}

// These tests run with the fake clock of synctest, so sleeps take no time.
func TestLooksAreSlowedDownToHalfOfWhatWasCalledAndComeBackSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 2000, MaxConcurrent: 32}) // 100 a second
		refresh, urgent := as(t.Context(), "n", keyvault.PriorityRefresh), as(t.Context(), "n", keyvault.PriorityPodStart)
		for range 2000 { // 20 per second, far below the limit
			require.NoError(t, b.call(refresh, "a", "kv", 0, ok))
			time.Sleep(50 * time.Millisecond)
		}
		require.NoError(t, b.call(refresh, "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Second)
		assert.InDelta(t, 11*10, b.within(refresh, 10*time.Second), 11, "half of twenty, and what was saved in the pause")
		assert.Greater(t, b.within(urgent, time.Second), 50, "a pod that starts does not wait for that")
		time.Sleep(2 * time.Minute)
		assert.InDelta(t, 220+20, b.within(refresh, 10*time.Second), 12, "twice as much after two minutes and some seconds, and what was saved")
		time.Sleep(10 * time.Minute)
		b.within(refresh, 10*time.Second)
		assert.InDelta(t, 1000, b.within(refresh, 10*time.Second), 20, "and some time later the limit alone counts")
	})
}

func TestAPodIsServedWhileLooksAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 320, MaxConcurrent: 32}) // 16 per second, of which at least one remains
		require.NoError(t, b.call(t.Context(), "a", "kv", 0, ratelimit.Response{Status: 429}))
		time.Sleep(time.Second)
		var group sync.WaitGroup
		for range 10 { // the bucket is empty too, but refills at half of 16 per second
			group.Go(func() { assert.NoError(t, b.call(as(t.Context(), "n", keyvault.PriorityRefresh), "a", "kv", 0, ok)) })
		}
		synctest.Wait()
		started := time.Now()
		require.NoError(t, b.call(as(t.Context(), "n", keyvault.PriorityPodStart), "a", "kv", 0, ok))
		assert.Less(t, time.Since(started), 200*time.Millisecond)
		late, ctx := ratelimit.NewCall(as(t.Context(), "n", keyvault.PriorityRefresh))
		joined := make(chan time.Duration, 1)
		group.Go(func() {
			assert.NoError(t, b.call(ctx, "a", "kv", 0, ok))
			joined <- time.Since(started)
		})
		synctest.Wait()
		late.RaisePriority(keyvault.PriorityPodStart)
		assert.Less(t, <-joined, 500*time.Millisecond, "nor does one that joins a look which is held back")
		group.Wait()
		assert.Greater(t, time.Since(started), 5*time.Second, "looks go on, slowly")
	})
}

func TestTheMostUrgentComeFirstAndNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 20, MaxConcurrent: 32}) // ten at once, then one per second
		for range 10 {
			require.NoError(t, b.call(t.Context(), "before", "kv", 0, ok))
		}
		b.calls = nil
		var group sync.WaitGroup
		for _, p := range []keyvault.Priority{keyvault.PriorityRefresh, keyvault.PriorityFirstSync, keyvault.PriorityPodStart} {
			for range 16 {
				group.Go(func() { assert.NoError(t, b.call(as(t.Context(), "n", p), p.String(), "kv", 0, ok)) })
			}
			synctest.Wait()
		}
		group.Wait()
		order := b.order()
		assert.Len(t, order, 48)
		early := slices.DeleteFunc(slices.Clone(order[:16]), func(who string) bool { return who == "pod-start" })
		assert.Len(t, early, 2, "every eighth turn is of the one who waits longest")
		assert.Equal(t, "refresh", early[0])
		assert.Less(t, slices.Index(order, "first-sync"), 20)
	})
}

func TestNamespacesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 20, MaxConcurrent: 32})
		for range 10 {
			require.NoError(t, b.call(t.Context(), "before", "kv", 0, ok))
		}
		b.calls = nil
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				assert.NoError(t, b.call(as(t.Context(), "big", keyvault.PriorityRefresh), "big", "kv", 0, ok))
			})
		}
		synctest.Wait()
		for i := range 5 {
			name := fmt.Sprint("small", i)
			group.Go(func() { assert.NoError(t, b.call(as(t.Context(), name, keyvault.PriorityRefresh), name, "kv", 0, ok)) })
		}
		group.Wait()
		small := slices.DeleteFunc(b.order()[:8], func(who string) bool { return who == "big" })
		assert.Len(t, small, 5, "one big namespace keeps no small one back")
	})
}

func TestAPodThatJoinsMakesACallUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 20, MaxConcurrent: 32})
		for range 10 {
			require.NoError(t, b.call(t.Context(), "before", "kv", 0, ok))
		}
		b.calls = nil
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				assert.NoError(t, b.call(as(t.Context(), "n", keyvault.PriorityFirstSync), "others", "kv", 0, ok))
			})
		}
		synctest.Wait()
		shared, ctx := ratelimit.NewCall(as(t.Context(), "n", keyvault.PriorityRefresh))
		group.Go(func() { assert.NoError(t, b.call(ctx, "shared", "kv", 0, ok)) })
		synctest.Wait()
		shared.RaisePriority(keyvault.PriorityPodStart)
		shared.RaisePriority(keyvault.PriorityRefresh)
		group.Wait()
		assert.Equal(t, "shared", b.order()[0])
	})
}

func TestADeadlineEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 20, MaxConcurrent: 1})
		var group sync.WaitGroup
		group.Go(func() { assert.NoError(t, b.call(t.Context(), "slow", "kv", time.Minute, ok)) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.call(ctx, "hasty", "kv", 0, ok)
		assert.True(t, ratelimit.IsDeferred(err))
		assert.Equal(t, 900*time.Millisecond, time.Since(b.started), "early enough to say why")
		require.NoError(t, ctx.Err())
		require.NoError(t, b.call(t.Context(), "patient", "kv", 0, ok))
		group.Wait()
		assert.Equal(t, []string{"slow", "patient"}, b.order())
	})
}

func TestWaitsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		b := newBench(t, ratelimit.Config{VaultLimit: 2, MaxConcurrent: 1, RecordWait: func(vault string, p keyvault.Priority, d time.Duration) {
			told = append(told, fmt.Sprint(vault, " ", p, " ", d.Round(time.Second)))
		}})
		for range 2 {
			require.NoError(t, b.call(as(t.Context(), "n", keyvault.PriorityPodStart), "a", "kv", 0, ok))
		}
		assert.Equal(t, []string{"kv pod-start 0s", "kv pod-start 10s"}, told)
	})
}

func TestVaultsThatRestAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ratelimit.Config{VaultLimit: 1000, MaxConcurrent: 1})
		require.NoError(t, b.call(t.Context(), "a", "paused", 0, ratelimit.Response{Status: 429, RetryAfter: time.Hour}))
		require.NoError(t, b.call(t.Context(), "a", "other", 0, ratelimit.Response{Status: 503, RetryAfter: time.Hour}))
		for i := range 3000 {
			require.NoError(t, b.call(t.Context(), "a", fmt.Sprint("kv", i), 0, ok))
			time.Sleep(50 * time.Millisecond)
			require.LessOrEqual(t, b.TrackedVaults(), limits.RateLimitedVaults)
		}
		assert.Error(t, b.call(t.Context(), "a", "paused", 0, ok), "a pause is not forgotten")
		assert.Error(t, b.call(t.Context(), "a", "other", 0, ok), "nor is one that came with another status, whose bucket is full")
	})
}

func TestNewRefusesAnEmptyConfiguration(t *testing.T) {
	_, err := ratelimit.New(ratelimit.Config{})
	assert.Error(t, err)
	assert.True(t, ratelimit.IsDeferred(ratelimit.BusyError("kv", time.Second)))
	assert.False(t, ratelimit.IsDeferred(fault.New(fault.Throttled, "429")))
}
