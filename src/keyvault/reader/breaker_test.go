package reader_test

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
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
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

func openOn(t *testing.T, f reader.Fetcher) *reader.Reader {
	t.Helper()
	r, err := reader.New(reader.Config{Fetcher: f, Clock: time.Now, MaxConcurrent: 4, CallTimeout: 20 * time.Second, CacheTTL: time.Hour, CacheEntries: 1000, CacheBytes: 1 << 20})
	require.NoError(t, err)
	return r
}

// readBad reads as the tenant without responses. All tests in this package run with the fake clock of synctest, so
// sleeps take no time.
func readBad(t *testing.T, r *reader.Reader, name string) error {
	t.Helper()
	bad := ref(name)
	bad.Identity = tenant
	_, err := r.Read(t.Context(), bad, 0)
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
				_, err := r.Read(t.Context(), bad, age)
				require.Error(t, err)
				if ratelimit.IsDeferred(err) {
					assert.Equal(t, 2*time.Second, time.Since(began), "those who would have to wait longer come back later")
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			_, err := r.Read(t.Context(), ref(fmt.Sprint(i)), age)
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

func TestAQuickRefusalIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		v.fail(fault.New(fault.Unavailable, "503"))
		r := open(t, v)
		for range 10 {
			_, err := r.Read(t.Context(), ref("a"), 0)
			assert.EqualError(t, err, "503")
		}
		assert.EqualValues(t, 10, v.calls.Load())
	})
}

func TestPrioritiesHavePlacesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &vault{})
		for i := range 4 {
			go func() { _, _ = r.Read(t.Context(), ref(fmt.Sprint(i)), age) }()
		}
		synctest.Wait()
		began := time.Now()
		_, err := r.Read(keyvault.WithPurpose(t.Context(), keyvault.Purpose{Priority: keyvault.PriorityPodStart}), ref("pod"), age)
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began))
	})
}
