package ociimage

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// flood requests many images of silent registries of an attacker's domain until the context ends.
func flood(ctx context.Context, images *Images, namespace string, questions int) *sync.WaitGroup {
	var group sync.WaitGroup
	for n := range questions {
		group.Go(func() {
			for ctx.Err() == nil {
				_, _ = images.ReadCommand(ctx, Query{Namespace: namespace, Image: fmt.Sprintf("r%d.evil.test/%s:1", n, namespace), OS: "linux"})
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return &group
}

// wildcard answers for each host of a domain.
type wildcard struct {
	hosts
	suffix  string
	handler http.HandlerFunc
}

func (w wildcard) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Host, w.suffix) {
		return hosts{r.URL.Host: w.handler}.RoundTrip(r)
	}
	return w.hosts.RoundTrip(r)
}

func TestSlowRegistriesOfStrangersDelayOthersOnlyBriefly(t *testing.T) {
	for name, strangers := range map[string][]string{"one namespace": {"a"}, "enough to take every place": {"a", "b", "c", "d", "e", "f"}, "the same namespace": {"good"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := newStore()
				good.image(runs("linux", "amd64", "app"), "1")
				images, _ := memoryImages(t, wildcard{hosts{"good.test": good.serve}, ".evil.test", silent}, TransportConfig{})
				ctx, stop := context.WithCancel(t.Context())
				var groups []*sync.WaitGroup
				for _, namespace := range strangers {
					groups = append(groups, flood(ctx, images, namespace, 40))
				}
				time.Sleep(time.Second)
				started := time.Now()
				command, err := images.ReadCommand(t.Context(), Query{Namespace: "good", Image: "good.test/app:1", OS: "linux"})
				require.NoError(t, err)
				assert.Equal(t, []string{"app"}, command.Cmd)
				assert.LessOrEqual(t, time.Since(started), 2*limits.ImageLookupGrace, "not until the slow registries time out")
				stop()
				for _, group := range groups {
					group.Wait()
				}
			})
		})
	}
}

func TestReviewsOfUnknownSendersHaveSlotsOfTheirOwn(t *testing.T) {
	assert.Equal(t, "a", Query{Namespace: "a"}.slotOwner())
	assert.NotEqual(t, "a", Query{Namespace: "a", Untrusted: true}.slotOwner())
	assert.NotEqual(t, Query{Namespace: "b", Untrusted: true}.slotOwner(), Query{Namespace: "a", Untrusted: true}.slotOwner())
}

func TestPlacesAreSharedByNamespaceAndRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p lookupSlots
		take := func(namespace, registry string) (context.Context, func()) {
			ctx, release, err := p.acquireSlot(t.Context(), namespace, registry)
			require.NoError(t, err)
			return ctx, release
		}
		inFlight := func(namespace string) int {
			p.mu.Lock()
			defer p.mu.Unlock()
			return countSlots(p.active, (&lookupSlot{namespace: namespace}).isSameNamespace)
		}
		var mine []context.Context
		for n := range limits.ImageLookupsPerRegistry {
			ctx, _ := take("a", "slow.test")
			if n == 0 {
				mine = append(mine, ctx)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, _, err := p.acquireSlot(short, "a", "slow.test")
		require.ErrorIs(t, err, context.DeadlineExceeded, "a registry's look-ups wait for each other")
		require.NoError(t, mine[0].Err())
		_, release := take("a", "other.test")
		release()
		for n := range limits.ImageLookupsPerNamespace - limits.ImageLookupsPerRegistry {
			take("a", fmt.Sprint(n, ".test"))
		}
		assert.Equal(t, limits.ImageLookupsPerNamespace, inFlight("a"))
		take("a", "fresh.test")
		assert.ErrorIs(t, context.Cause(mine[0]), errSlotReclaimed, "the oldest of the namespace makes room")
		assert.Equal(t, limits.ImageLookupsPerNamespace, inFlight("a"))

		for _, namespace := range []string{"b", "c", "d"} {
			for n := range limits.ImageLookupsPerNamespace {
				take(namespace, fmt.Sprint(n, ".test"))
			}
		}
		started := time.Now()
		take("e", "x.test")
		assert.LessOrEqual(t, time.Since(started), limits.ImageLookupGrace, "a full house makes room for a namespace with fewer")
		p.mu.Lock()
		assert.LessOrEqual(t, len(p.active), limits.ImageLookups)
		p.mu.Unlock()
		assert.Equal(t, 1, inFlight("e"))
	})
}

func TestWaitingLookupsAreBoundedAndServedFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p lookupSlots
		var releases []func()
		for n := range limits.ImageLookups {
			_, release, err := p.acquireSlot(t.Context(), fmt.Sprint("n", n%4), fmt.Sprint(n, ".test"))
			require.NoError(t, err)
			releases = append(releases, release)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		var order []string
		for n := range limits.ImageLookupsWaiting + 1 {
			namespace := "many"
			if n == limits.ImageLookupsWaiting {
				namespace = "one"
			}
			go func() {
				if _, release, err := p.acquireSlot(ctx, namespace, fmt.Sprint(n, ".test")); err == nil {
					mu.Lock()
					order = append(order, namespace)
					mu.Unlock()
					time.Sleep(time.Hour)
					release()
				}
			}()
			synctest.Wait()
		}
		_, _, err := p.acquireSlot(ctx, "many", "more.test")
		require.ErrorIs(t, err, errQueueFull)
		releases[0]()
		synctest.Wait()
		releases[1]()
		synctest.Wait()
		assert.Equal(t, []string{"many", "one"}, order, "a namespace that has none comes before another's second")
		cancel()
		time.Sleep(3 * time.Hour)
	})
}

func TestALookupEndsWithItsLastWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, ended atomic.Int32
		images, _ := memoryImages(t, hosts{"slow.test": func(_ http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			<-r.Context().Done()
			ended.Add(1)
		}}, TransportConfig{})
		ask := func(patience time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := images.ReadCommand(ctx, Query{Namespace: "a", Image: "slow.test/app:1", OS: "linux"})
			assert.ErrorContains(t, err, "could not be reached or did not answer as a registry; the env-injector's log has the cause, id ",
				"the same sentence as for a registry that is closed")
		}
		go ask(time.Second)
		go ask(2 * time.Second)
		time.Sleep(1500 * time.Millisecond)
		assert.EqualValues(t, 1, calls.Load(), "they share one")
		assert.Zero(t, ended.Load(), "one still waits")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, ended.Load(), "nobody waits any more")
		assert.Empty(t, images.slots.active)
		assert.Empty(t, images.inFlight.callsByKey)
		ask(time.Second)
		assert.EqualValues(t, 2, calls.Load(), "the next caller has a look-up of its own")
		time.Sleep(time.Second)
	})
}

func TestAHostThatDoesNotAnswerIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := newStore()
		good.image(runs("linux", "amd64", "app"), "1")
		var calls atomic.Int32
		var well atomic.Bool
		network := hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			if !well.Load() {
				silent(w, r)
				return
			}
			good.serve(w, r)
		}}
		images, log := memoryImages(t, network, TransportConfig{})
		n := 0
		ask := func(patience time.Duration) (time.Duration, error) {
			n++
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			started := time.Now()
			_, err := images.ReadCommand(ctx, Query{Namespace: fmt.Sprint("n", n), Image: fmt.Sprintf("r.test/app%d:1", n), OS: "linux"})
			synctest.Wait()
			return time.Since(started), err
		}
		for range 20 {
			_, err := ask(time.Second) // callers who give up early say nothing about the host
			require.Error(t, err)
		}
		assert.EqualValues(t, 20, calls.Load())
		for range limits.ImageBreakerFailures {
			_, err := ask(time.Minute)
			require.Error(t, err)
		}
		calls.Store(0)
		for range 10 {
			took, err := ask(time.Minute)
			require.Error(t, err)
			assert.Zero(t, took)
		}
		assert.Zero(t, calls.Load())
		assert.Contains(t, log.String(), errBreakerOpen.Error())
		well.Store(true)
		time.Sleep(limits.ImageBreakerPause)
		_, err := ask(time.Minute)
		require.NoError(t, err)
		_, err = ask(time.Minute)
		require.NoError(t, err)
		well.Store(false)
		_, _ = ask(time.Minute)
		well.Store(true)
		_, err = ask(time.Minute)
		require.NoError(t, err, "failures count in a row")
	})
}

func TestOnlyOneCallTriesAHostAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCircuitBreaker()
		for range limits.ImageBreakerFailures {
			require.NoError(t, b.checkCallAllowed("r.test"))
			b.recordResult("r.test", limits.ImageBreakerSlowCall, false)
		}
		require.ErrorIs(t, b.checkCallAllowed("r.test"), errBreakerOpen)
		require.NoError(t, b.checkCallAllowed("other.test"))
		time.Sleep(limits.ImageBreakerPause)
		require.NoError(t, b.checkCallAllowed("r.test"))
		require.ErrorIs(t, b.checkCallAllowed("r.test"), errBreakerOpen)
		b.recordResult("r.test", 0, false)
		require.NoError(t, b.checkCallAllowed("r.test"), "a trial that its caller ended does not block the next")
		b.recordResult("r.test", limits.ImageBreakerSlowCall, false)
		require.ErrorIs(t, b.checkCallAllowed("r.test"), errBreakerOpen)
	})
}

func TestARefusalIsRememberedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := newStore()
		var calls atomic.Int32
		images, _ := memoryImages(t, hosts{"r.test": func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			content.serve(w, r)
		}}, TransportConfig{})
		ask := func(namespace string) error {
			_, err := images.ReadCommand(t.Context(), Query{Namespace: namespace, Image: "r.test/app:1", OS: "linux"})
			return err
		}
		require.Equal(t, fault.NotFound, fault.KindOf(ask("a")))
		before := calls.Load()
		for range 50 {
			require.Equal(t, fault.NotFound, fault.KindOf(ask("a")))
		}
		assert.Equal(t, before, calls.Load())
		require.Error(t, ask("b"))
		assert.Greater(t, calls.Load(), before, "another namespace asks for itself")
		content.image(runs("linux", "amd64", "app"), "1")
		time.Sleep(limits.ImageErrorCacheAge)
		require.NoError(t, ask("a"))
	})
}

func TestACallHasItsOwnTime(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"silent": silent, "drips": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		silent(w, r)
	}} {
		synctest.Test(t, func(t *testing.T) {
			images, log := memoryImages(t, hosts{"r.test": handler}, TransportConfig{})
			started := time.Now()
			_, err := images.ReadCommand(t.Context(), Query{Namespace: "a", Image: "r.test/app:1", OS: "linux"})
			require.Error(t, err, name)
			assert.Equal(t, limits.ImageAnswerTime, time.Since(started), name)
			assert.Contains(t, log.String(), "did not answer in time")
		})
	}
}
