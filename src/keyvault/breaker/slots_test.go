package breaker_test

import (
	"context"
	"fmt"
	"sync"
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

// slow responds after a second and records the concurrent calls of each namespace.
type slow struct {
	mu   sync.Mutex
	most map[string]int
	now  map[string]int
}

func (s *slow) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	namespace := keyvault.PurposeOf(ctx).Namespace
	s.mu.Lock()
	s.now[namespace]++
	s.most[namespace] = max(s.most[namespace], s.now[namespace])
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now[namespace]--
	s.mu.Unlock()
	return keyvault.Object{Ref: ref, Version: "1"}, nil
}

func shared(t *testing.T, f keyvault.Fetcher) keyvault.Fetcher {
	t.Helper()
	return open(t, f, breaker.Config{MaxConcurrent: 5, MaxPerNamespace: 4, CallTimeout: 20 * time.Second})
}

func of(t *testing.T, namespace string) context.Context {
	t.Helper()
	return keyvault.WithPurpose(t.Context(), keyvault.Purpose{Namespace: namespace})
}

func TestANamespaceThatAsksForManyKeepsNoOtherBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{most: map[string]int{}, now: map[string]int{}}
		r := shared(t, s)
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() { _, _ = r.Fetch(of(t, "greedy"), ref(fmt.Sprint("g", i))) })
		}
		synctest.Wait()
		for i := range 5 {
			began := time.Now()
			_, err := r.Fetch(of(t, fmt.Sprint("modest-", i)), ref(fmt.Sprint("m", i)))
			require.NoError(t, err)
			assert.Equal(t, time.Second, time.Since(began), "it has the place that the other one may not take")
		}
		group.Wait()
		assert.Equal(t, 4, s.most["greedy"])
	})
}

func TestAFreePlaceGoesToTheNamespaceThatHoldsTheFewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{most: map[string]int{}, now: map[string]int{}}
		r := shared(t, s)
		var group sync.WaitGroup
		for _, greedy := range []string{"a", "b"} { // together they hold all slots
			for i := range 20 {
				group.Go(func() { _, _ = r.Fetch(of(t, greedy), ref(fmt.Sprint(greedy, i))) })
			}
		}
		synctest.Wait()
		began := time.Now()
		_, err := r.Fetch(of(t, "modest"), ref("m"))
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began), "the first that becomes free, before 30 who asked earlier")
		group.Wait()
	})
}

func TestPlacesComeBackHoweverTheWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{most: map[string]int{}, now: map[string]int{}}
		r := shared(t, s)
		for round := range 20 {
			var group sync.WaitGroup
			for i := range 30 {
				group.Go(func() {
					ctx, cancel := context.WithTimeout(of(t, fmt.Sprint("n", i%3)), time.Duration(i)*100*time.Millisecond)
					defer cancel()
					_, err := r.Fetch(ctx, ref(fmt.Sprint(round, "-", i)))
					assert.True(t, err == nil || ratelimit.IsDeferred(err) || fault.KindOf(err) == fault.Unavailable, "%v", err)
				})
			}
			group.Wait()
			time.Sleep(5 * time.Second)
		}
		began := time.Now()
		var group sync.WaitGroup
		for i := range 5 {
			group.Go(func() {
				_, err := r.Fetch(of(t, fmt.Sprint("n", i)), ref(fmt.Sprint("last", i)))
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.Equal(t, time.Second, time.Since(began), "all five places are free")
	})
}
