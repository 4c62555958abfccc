package refresh_test

import (
	"context"
	"fmt"
	"strings"
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
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
)

const interval = 30 * time.Second

var tenant = keyvault.Identity{Namespace: "bad", ServiceAccount: "reader"}

func ref(name string) keyvault.Ref {
	return keyvault.Ref{Vault: "kv1", Kind: keyvault.KindSecret, Name: name}
}

// reader reads with refreshes through a cache and circuit breakers.
type reader struct{ *refresh.Fetcher }

func (r reader) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	purpose := keyvault.PurposeOf(ctx)
	purpose.MaxAge = maxAge
	return r.Fetch(keyvault.WithPurpose(ctx, purpose), ref)
}

func openWith(t *testing.T, f keyvault.Fetcher, c cache.Config, settings refresh.Config) reader {
	t.Helper()
	c.Clock, c.CallTimeout, settings.Clock = time.Now, 20*time.Second, time.Now
	guarded, err := breaker.New(f, breaker.Config{Clock: c.Clock, MaxConcurrent: 32, CallTimeout: c.CallTimeout})
	require.NoError(t, err)
	cached, err := cache.New(guarded, c)
	require.NoError(t, err)
	refreshed, err := refresh.New(cached, settings)
	require.NoError(t, err)
	return reader{refreshed}
}

// shelf is a vault whose dates have a resolution of one second, as in Azure. It is not safe for concurrent use.
type shelf struct {
	updated       map[string]time.Time
	versions      map[string]int
	disabled      map[string]bool
	hidden        map[string]bool // from lists
	refuse        error           // of lists
	gets, lists   int
	asked         []string
	told, refused []string
	changed       []string
}

func (s *shelf) put(name string) {
	s.updated[name] = time.Now().UTC().Truncate(time.Second)
	s.versions[name]++
}

func (s *shelf) Fetch(_ context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind.ItemKind() == "" {
		s.gets++
		s.asked = append(s.asked, ref.Name)
		switch {
		case s.disabled[ref.Name]:
			return keyvault.Object{}, fault.New(fault.Disabled, "off")
		case s.versions[ref.Name] == 0:
			return keyvault.Object{}, fault.New(fault.NotFound, "404")
		}
		return keyvault.Object{Ref: ref, Version: fmt.Sprint(s.versions[ref.Name]), Updated: s.updated[ref.Name], ResponseDate: time.Now().UTC().Truncate(time.Second)}, nil
	}
	s.lists++
	if s.refuse != nil {
		return keyvault.Object{}, s.refuse
	}
	list := keyvault.Object{Ref: ref, Version: "list"}
	for name, updated := range s.updated {
		if !s.hidden[name] {
			list.Entries = append(list.Entries, keyvault.Entry{Name: strings.ToUpper(name), Updated: updated, Disabled: s.disabled[name]})
		}
	}
	return list, nil
}

func (s *shelf) RecordRead(keyvault.Ref, string, error) {}

func (s *shelf) RecordChangeDetection(list keyvault.Ref, was, is string) {
	s.told = append(s.told, fmt.Sprint(list.Kind, ": ", was, "→", is))
}

func (s *shelf) RecordListUnavailable(list keyvault.Ref, err error, wait time.Duration) {
	s.refused = append(s.refused, fmt.Sprint(list.Kind, ": ", err, " ", wait))
}

// watcher refreshes the objects of a shelf at each interval.
type watcher struct {
	*testing.T
	*shelf
	reader
	names []string
	ref   func(name string) keyvault.Ref
}

// watching returns a watcher of n objects that were changed an hour ago.
func watching(t *testing.T, n int) *watcher {
	t.Helper()
	s := &shelf{updated: map[string]time.Time{}, versions: map[string]int{}, disabled: map[string]bool{}, hidden: map[string]bool{}}
	w := &watcher{T: t, shelf: s, ref: ref}
	for i := range n {
		w.names = append(w.names, fmt.Sprintf("s-%04d", i))
		s.put(w.names[i])
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	w.reader = openWith(t, s, cache.Config{TTL: 15 * time.Second, Entries: 10000, Bytes: 32 << 20},
		refresh.Config{Observer: s, OnChange: func(r keyvault.Ref) { s.changed = append(s.changed, r.Name) }})
	return w
}

// cycle refreshes each object once, spread over the interval, and returns the number of calls.
func (w *watcher) cycle(p keyvault.Priority) (gets, lists int) {
	w.Helper()
	w.gets, w.lists, w.asked, w.changed = 0, 0, nil, nil
	began := time.Now()
	for i, name := range w.names {
		time.Sleep(time.Until(began.Add(interval * time.Duration(i) / time.Duration(len(w.names)))))
		_, _ = w.get(name, p)
	}
	time.Sleep(time.Until(began.Add(interval)))
	return w.gets, w.lists
}

func (w *watcher) get(name string, p keyvault.Priority) (keyvault.Object, error) {
	ctx := keyvault.WithPurpose(w.Context(), keyvault.Purpose{Namespace: "n", Priority: p, RefreshInterval: interval})
	o, err := w.Read(ctx, w.ref(name), 10*time.Second)
	synctest.Wait() // changes are reported after the read
	return o, err
}

func TestWhatDidNotChangeIsFoundByOneListACycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 1000)
		gets, lists := w.cycle(keyvault.PriorityFirstSync)
		assert.Equal(t, []int{1000, 0}, []int{gets, lists}, "one read of each at first")
		for range 5 {
			gets, lists = w.cycle(keyvault.PriorityRefresh)
			assert.Equal(t, 1, lists)
			assert.LessOrEqual(t, gets, 4, "the day's own reads alone")
		}
		o, err := w.get("s-0000", keyvault.PriorityRefresh)
		require.NoError(t, err)
		assert.Equal(t, w.ref("s-0000"), o.Ref)
		assert.Equal(t, []string{"secret list: →get", "secret list: get→list"}, w.told)
	})
}

func TestAChangeIsReadAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.cycle(keyvault.PriorityRefresh)
		w.put("s-0042")
		w.cycle(keyvault.PriorityRefresh)
		assert.Contains(t, w.asked, "s-0042")
		assert.Equal(t, []string{"s-0042"}, w.changed, "as soon as the list has it")
		o, err := w.get("s-0042", keyvault.PriorityRefresh)
		require.NoError(t, err)
		assert.Equal(t, "2", o.Version)
		w.cycle(keyvault.PriorityRefresh)
		assert.Empty(t, w.changed)
	})
}

func TestAChangeInTheSecondOfTheReadIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.cycle(keyvault.PriorityRefresh)
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		w.put("s-0007")
		ctx := keyvault.WithPurpose(t.Context(), keyvault.Purpose{Priority: keyvault.PriorityRefresh, RefreshInterval: interval})
		o, err := w.Read(ctx, w.ref("s-0007"), 0)
		synctest.Wait()
		require.NoError(t, err)
		require.Equal(t, "2", o.Version)
		time.Sleep(500 * time.Millisecond)
		w.put("s-0007") // in the same second, so the date is equal
		time.Sleep(10 * time.Second)
		w.cycle(keyvault.PriorityRefresh)
		assert.Contains(t, w.asked, "s-0007", "it was read too soon after its change")
		o, err = w.get("s-0007", keyvault.PriorityRefresh)
		require.NoError(t, err)
		assert.Equal(t, "3", o.Version)
		w.cycle(keyvault.PriorityRefresh)
		assert.NotContains(t, w.asked, "s-0007", "now it is settled")
	})
}

func TestAbsenceFromAListIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.hidden["s-0001"], w.hidden["s-0002"] = true, true
		delete(w.versions, "s-0002")
		w.disabled["s-0003"] = true
		w.cycle(keyvault.PriorityRefresh)
		assert.Subset(t, w.asked, []string{"s-0001", "s-0002", "s-0003"})
		_, err := w.get("s-0001", keyvault.PriorityRefresh)
		assert.NoError(t, err)
		_, err = w.get("s-0002", keyvault.PriorityRefresh)
		assert.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = w.get("s-0003", keyvault.PriorityRefresh)
		assert.Equal(t, fault.Disabled, fault.KindOf(err))
		time.Sleep(10 * time.Second)
		w.cycle(keyvault.PriorityRefresh)
		assert.Subset(t, w.asked, []string{"s-0001", "s-0002", "s-0003"}, "until the list has them again")
	})
}

func TestEachObjectIsReadOnceADayInPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		perHour, count := map[int]int{}, map[string]int{}
		for i := range 24 * 120 {
			w.cycle(keyvault.PriorityRefresh)
			perHour[i/120] += w.gets
			for _, name := range w.asked {
				count[name]++
			}
		}
		all := 0
		for _, name := range w.names {
			assert.LessOrEqual(t, count[name], 2, name)
			all += count[name]
		}
		assert.InDelta(t, len(w.names), all, 5, "one read of each")
		for hour, n := range perHour {
			assert.Less(t, n, 20, "hour %d", hour)
		}
	})
}

func TestAListThatIsRefusedIsToldOnceAndDoneWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.refuse = fault.New(fault.Denied, "403")
		w.cycle(keyvault.PriorityFirstSync)
		lists := 0
		for range 119 { // nearly an hour
			gets, n := w.cycle(keyvault.PriorityRefresh)
			assert.Equal(t, 100, gets)
			lists += n
		}
		assert.Equal(t, 1, lists)
		assert.Equal(t, []string{"secret list: 403 1h0m0s"}, w.refused)
		w.refuse = nil
		w.cycle(keyvault.PriorityRefresh)
		gets, n := w.cycle(keyvault.PriorityRefresh)
		assert.LessOrEqual(t, gets, 2)
		assert.Equal(t, 1, n, "the permission was given meanwhile")
	})
}

func TestAListThatFailsIsDoneWithoutForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.refuse = fault.New(fault.Unavailable, "503")
		gets, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{100, 1}, []int{gets, lists})
		w.refuse = nil
		w.cycle(keyvault.PriorityRefresh)
		w.cycle(keyvault.PriorityRefresh)
		gets, lists = w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{0, 1}, []int{gets, lists})
	})
}

func TestAListThatIsThrottledIsAskedForAgainNextTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.refuse = fault.New(fault.Throttled, "429")
		w.cycle(keyvault.PriorityRefresh)
		w.refuse = nil
		gets, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{0, 1}, []int{gets, lists}, "a vault that had too much is not read object by object")
	})
}

// As all tests in this file, it runs with the fake clock of synctest, so sleeps take no time.
func TestAListThatIsTooSlowForItsVaultIsDoneWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		w.cycle(keyvault.PriorityFirstSync)
		w.refuse = ratelimit.BusyError("kv1", time.Second)
		w.gets, w.lists = 0, 0
		time.Sleep(interval)
		for i := range 2 {
			_, err := w.get(w.names[i], keyvault.PriorityRefresh)
			assert.True(t, ratelimit.IsDeferred(err), "others come first, and the next list may come in time")
		}
		_, err := w.get(w.names[2], keyvault.PriorityRefresh)
		require.NoError(t, err)
		assert.Equal(t, []int{1, 3}, []int{w.gets, w.lists}, "the third time it is done without")
		gets, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{99, 0}, []int{gets, lists}, "all but the one that was just read")
		w.refuse = nil
		time.Sleep(5 * time.Minute)
		w.cycle(keyvault.PriorityRefresh) // results without a confirmation for so long are read again
		_, lists = w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, 1, lists, "after five minutes it is asked for again")
	})
}

func TestTheCheaperWayIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		watched, others int
		list            bool
	}{
		"few objects":                     {9, 0, false},
		"ten objects":                     {10, 0, true},
		"a few of a big vault":            {60, 2000, false},
		"most of a big vault":             {600, 1400, true},
		"a whole vault":                   {1000, 0, true},
		"as many as make no odds":         {80, 1000, false},
		"two pages where two are watched": {2, 48, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watching(t, c.watched)
				for i := range c.others {
					w.put(fmt.Sprint("other-", i))
				}
				w.cycle(keyvault.PriorityFirstSync)
				w.cycle(keyvault.PriorityRefresh) // returns the size of the list
				gets, lists := w.cycle(keyvault.PriorityRefresh)
				if c.list {
					assert.Equal(t, 1, lists)
					assert.Less(t, gets, 5)
				} else {
					assert.Equal(t, []int{c.watched, 0}, []int{gets, lists})
				}
			})
		})
	}
}

func TestPinnedVersionsAndPodsAreNotForLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 50)
		w.ref = func(name string) keyvault.Ref { r := ref(name); r.Version = "1"; return r }
		w.cycle(keyvault.PriorityFirstSync)
		gets, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{50, 0}, []int{gets, lists}, "each look asks whether it is still enabled")

		assert.Zero(t, w.TrackedObjects(), "nor do they count for whether a list is worth its cost")

		w = watching(t, 50)
		w.cycle(keyvault.PriorityFirstSync)
		assert.Equal(t, 50, w.TrackedObjects())
		for i := range 20 { // pods read objects that are not refreshed, once each
			_, err := w.Read(keyvault.WithPurpose(t.Context(), keyvault.Purpose{Namespace: "n", Priority: keyvault.PriorityPodStart}), ref(fmt.Sprint("other-", i)), 10*time.Second)
			require.Error(t, err)
		}
		w.ref = func(name string) keyvault.Ref { r := ref(name); r.Version = "1"; return r }
		w.cycle(keyvault.PriorityRefresh)
		w.ref = ref
		assert.Equal(t, 50, w.TrackedObjects(), "nor do pinned versions beside others")
		gets, lists = w.cycle(keyvault.PriorityPodStart)
		assert.Equal(t, []int{50, 0}, []int{gets, lists})
	})
}

func TestEachKindAndIdentityHasAListOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 120)
		kinds := []keyvault.Kind{keyvault.KindSecret, keyvault.KindCertificate, keyvault.KindKey}
		w.ref = func(name string) keyvault.Ref {
			r := ref(name)
			r.Kind = kinds[int(name[5]-'0')%3]
			if name < "s-0060" {
				r.Identity = tenant
			}
			return r
		}
		w.cycle(keyvault.PriorityFirstSync)
		w.cycle(keyvault.PriorityRefresh)
		_, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, 6, lists)
	})
}

func TestSeldomLooksDoNotPayForFrequentLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, 100)
		seldom := keyvault.WithPurpose(t.Context(), keyvault.Purpose{Priority: keyvault.PriorityRefresh, RefreshInterval: time.Hour})
		for _, name := range w.names[1:] {
			_, err := w.Read(seldom, w.ref(name), 10*time.Second)
			synctest.Wait()
			require.NoError(t, err)
		}
		w.names = w.names[:1]
		w.cycle(keyvault.PriorityRefresh)
		gets, lists := w.cycle(keyvault.PriorityRefresh)
		assert.Equal(t, []int{1, 0}, []int{gets, lists})
	})
}
