package breaker_test

import (
	"context"
	"errors"
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
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
)

// deaf does not respond to one tenant until it is healthy.
type deaf struct {
	tenant  keyvault.Identity
	healthy atomic.Bool
	calls   atomic.Int64
}

func (d *deaf) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Identity != d.tenant || d.healthy.Load() {
		time.Sleep(5 * time.Millisecond)
		return keyvault.Object{Ref: ref, Version: "1"}, nil
	}
	d.calls.Add(1)
	<-ctx.Done()
	return keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Operation: "reading " + ref.String(), Cause: errors.New("no token in time"), Next: "check the tenant"}
}

var tenant = keyvault.Identity{Namespace: "bad", ServiceAccount: "reader"}

// timed limits the time of each call, as the cache does.
type timed struct {
	keyvault.Fetcher
	callTimeout time.Duration
}

func (l timed) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, l.callTimeout)
	defer cancel()
	return l.Fetcher.Fetch(ctx, ref)
}

func open(t *testing.T, f keyvault.Fetcher, c breaker.Config) keyvault.Fetcher {
	t.Helper()
	c.Clock = time.Now
	b, err := breaker.New(f, c)
	require.NoError(t, err)
	return timed{b, c.CallTimeout}
}

func openOn(t *testing.T, f keyvault.Fetcher) keyvault.Fetcher {
	t.Helper()
	return open(t, f, breaker.Config{MaxConcurrent: 4, CallTimeout: 20 * time.Second})
}

func ref(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

// readBad reads as the tenant without responses. All tests in this package run with the fake clock of synctest, so
// sleeps take no time.
func readBad(t *testing.T, r keyvault.Fetcher, name string) error {
	t.Helper()
	bad := ref(name)
	bad.Identity = tenant
	_, err := r.Fetch(t.Context(), bad)
	return err
}

func TestWhoeverIsNotAnsweredKeepsNobodyElseBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := openOn(t, &deaf{tenant: tenant})
		var group sync.WaitGroup
		for i := range 40 {
			group.Go(func() {
				began := time.Now()
				bad := ref(fmt.Sprint(i))
				bad.Identity = tenant
				_, err := r.Fetch(t.Context(), bad)
				require.Error(t, err)
				if ratelimit.IsDeferred(err) {
					assert.Equal(t, 2*time.Second, time.Since(began), "those who would have to wait longer come back later")
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			_, err := r.Fetch(t.Context(), ref(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "of the same vault, and as if nobody else was there")
		group.Wait()
	})
}

func TestAVaultThatIsSilentIsAskedByOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{tenant: tenant}
		r := openOn(t, d)
		read := func(name string) error { return readBad(t, r, name) }
		for i := range 3 {
			require.Error(t, read(fmt.Sprint(i)))
		}
		began := time.Now()
		err := read("other")
		assert.Zero(t, time.Since(began), "nobody waits for what did not come three times")
		assert.Equal(t, fault.Unavailable, fault.KindOf(err))
		assert.False(t, ratelimit.IsDeferred(err), "it is told, and the last value known may serve")
		assert.Equal(t, 2*time.Second, fault.RetryAfter(err))
		assert.EqualError(t, err, `reading secret "other" of vault "kv1": pausing calls after repeated timeouts: no token in time; check the tenant`)
		for range 1000 { // half an hour
			_ = read("x")
			time.Sleep(2 * time.Second)
		}
		assert.Less(t, d.calls.Load(), int64(80))
		d.healthy.Store(true)
		time.Sleep(30 * time.Second)
		var group sync.WaitGroup
		var refused atomic.Int64
		for range 10 {
			group.Go(func() {
				if read("x") != nil {
					refused.Add(1)
				}
			})
		}
		group.Wait()
		assert.EqualValues(t, 9, refused.Load(), "one call looks whether it is there again")
		assert.NoError(t, read("x"))
	})
}

func TestManySilencesOfOneMomentCloseADoorAsOneDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{tenant: tenant}
		r := openOn(t, d)
		read := func(name string) error { return readBad(t, r, name) }
		for round := range 3 { // a starting pod requests many values at once
			var group sync.WaitGroup
			for i := range 4 {
				group.Go(func() { assert.Error(t, read(fmt.Sprintf("%d-%d", round, i))) })
			}
			group.Wait()
			pause := time.Duration(2<<round) * time.Second
			time.Sleep(pause - time.Millisecond)
			calls := d.calls.Load()
			require.Error(t, read("early"))
			assert.Equal(t, calls, d.calls.Load(), "it is closed")
			time.Sleep(time.Millisecond)
		}
		assert.EqualValues(t, 4+1+1, d.calls.Load(), "the first moment is of four, and then one at a time")
		d.healthy.Store(true)
		assert.NoError(t, read("x"), "it is tried again after 8 s and not after 30")
	})
}

// vault responds after a second, with an error if it has one.
type vault struct {
	calls atomic.Int64
	err   error
}

func (v *vault) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	v.calls.Add(1)
	time.Sleep(time.Second)
	return keyvault.Object{Ref: ref, Version: "1"}, v.err
}

func TestAQuickRefusalIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{err: fault.New(fault.Unavailable, "503")}
		r := open(t, v, breaker.Config{MaxConcurrent: 4, CallTimeout: 10 * time.Second})
		for range 10 {
			_, err := r.Fetch(t.Context(), ref("a"))
			assert.EqualError(t, err, "503")
		}
		assert.EqualValues(t, 10, v.calls.Load())
	})
}

func TestPrioritiesHavePlacesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &vault{}, breaker.Config{MaxConcurrent: 4, CallTimeout: 10 * time.Second})
		for i := range 4 {
			go func() { _, _ = r.Fetch(t.Context(), ref(fmt.Sprint(i))) }()
		}
		synctest.Wait()
		began := time.Now()
		_, err := r.Fetch(keyvault.WithPurpose(t.Context(), keyvault.Purpose{Priority: keyvault.PriorityPodStart}), ref("pod"))
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	whole := breaker.Config{Clock: time.Now, MaxConcurrent: 1, CallTimeout: time.Second}
	_, err := breaker.New(&vault{}, whole)
	require.NoError(t, err)
	_, err = breaker.New(nil, whole)
	require.ErrorContains(t, err, "breaker.New: missing or invalid: ")
	for name, without := range map[string]func(*breaker.Config){
		"clock": func(c *breaker.Config) { c.Clock = nil }, "parallel": func(c *breaker.Config) { c.MaxConcurrent = 0 },
		"timeout": func(c *breaker.Config) { c.CallTimeout = 0 },
	} {
		c := whole
		without(&c)
		_, err := breaker.New(&vault{}, c)
		assert.ErrorContains(t, err, "breaker.New: missing or invalid: ", name)
	}
}
