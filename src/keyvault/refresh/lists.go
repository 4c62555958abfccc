package refresh

import (
	"hash/fnv"
	"maps"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// listRefOf returns the list that contains an object.
func listRefOf(ref keyvault.Ref) keyvault.Ref {
	return keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind.ListKind(), Identity: ref.Identity}
}

// The times after which a failed list is requested again.
const (
	rejectedListRetry = time.Hour
	lateListRetry     = 5 * time.Minute
	failedListRetry   = time.Minute
)

// maxLateLists is the number of consecutive lists delayed by the rate limit after which objects are read one by one.
const maxLateLists = 3

// canWaitForList reports whether a list failed only because of throttling, so the refresh can wait for the next list.
func (f *Fetcher) canWaitForList(list keyvault.Ref, err error) bool {
	if ratelimit.IsPaused(err) || !ratelimit.IsDeferred(err) {
		return fault.KindOf(err) == fault.Throttled
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.plans[list]
	return ok && p.lateLists < maxLateLists
}

// avoidList suspends requests of a list that was rejected, is invalid or takes too long. Meanwhile each object is read.
func (f *Fetcher) avoidList(list keyvault.Ref, err error) {
	wait := rejectedListRetry
	switch {
	case ratelimit.IsDeferred(err):
		wait = lateListRetry
	case fault.KindOf(err).IsTransient():
		wait = failedListRetry
	}
	f.mu.Lock()
	p, ok := f.plans[list]
	isNew := ok && !f.config.Clock().Before(p.avoidListUntil)
	if ok {
		p.avoidListUntil, p.lateLists = f.config.Clock().Add(wait), 0
	}
	f.mu.Unlock()
	if isNew && f.config.Observer != nil {
		f.config.Observer.RecordListUnavailable(list, err, wait)
	}
}

// recordResult records the result of a call of a vault before its readers get it. It returns a function that reports
// the changes that a list shows.
func (f *Fetcher) recordResult(a cache.Result) (notify func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.Err == nil && isRefreshed(a.Ref, a.RefreshInterval) {
		f.trackObject(a.Ref, a.RefreshInterval)
	}
	var changed []keyvault.Ref
	if a.Ref.Kind.ItemKind() != "" {
		changed = f.applyList(a)
	}
	return func() {
		for _, ref := range changed {
			if f.config.OnChange != nil {
				f.config.OnChange(ref)
			}
		}
	}
}

// trackObject tracks an object whose vault returned it. Users can name vaults that do not exist, so nothing is stored
// for a name before that; the caller holds mu.
func (f *Fetcher) trackObject(ref keyvault.Ref, every time.Duration) {
	now := f.config.Clock()
	p, ok := f.plans[listRefOf(ref)]
	if !ok {
		if len(f.plans) >= limits.RefreshedLists {
			return
		}
		p = newPlan(now)
		f.plans[listRefOf(ref)] = p
		f.scheduleSweep()
	}
	p.trackObject(ref, every, now)
}

// scheduleSweep schedules the removal of plans without objects, which must go even if there are no more reads; the
// caller holds mu.
func (f *Fetcher) scheduleSweep() {
	if f.sweepTimer != nil || len(f.plans) == 0 {
		return
	}
	f.sweepTimer = time.AfterFunc(trackingGrace, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sweepTimer = nil
		now := f.config.Clock()
		maps.DeleteFunc(f.plans, func(_ keyvault.Ref, p *plan) bool { return p.removeStale(now) })
		f.scheduleSweep()
	})
}

// applyList processes a list, or its error, and returns the cached objects whose entries differ; the caller holds mu.
func (f *Fetcher) applyList(list cache.Result) (changed []keyvault.Ref) {
	p, ok := f.plans[list.Ref]
	if !ok {
		return nil
	}
	if list.Err != nil {
		if ratelimit.IsDeferred(list.Err) && !ratelimit.IsPaused(list.Err) {
			p.lateLists++
		}
		return nil
	}
	p.listEntries, p.lateLists = len(list.Object.Entries), 0
	for ref := range p.tracked {
		if known, ok := f.cache.Lookup(ref); ok && known.Err == nil && known.RequestedAt.Before(list.RequestedAt) &&
			!matchesList(known, list) {
			changed = append(changed, ref)
		}
	}
	return changed
}

// dateMargin is the minimum time between a change and a read for the next change to get a different date.
const dateMargin = 2 * time.Second

// hasConclusiveDate reports whether the next change of the object will change its date. Dates of a vault have a
// resolution of one second.
func hasConclusiveDate(known cache.Result) bool {
	return !known.Object.Updated.IsZero() && known.Object.Updated.Before(known.Object.ResponseDate.Add(-dateMargin))
}

// nextDailyRead returns the time of the object's daily read, which no list replaces. The hash of the name spreads
// objects over the day.
func nextDailyRead(known cache.Result) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(known.Ref.Vault + "/" + string(known.Ref.Kind) + "/" + known.Ref.Name))
	const day = 24 * time.Hour
	at := known.RequestedAt.Truncate(day).Add(time.Duration(h.Sum64() % uint64(day)))
	if !at.After(known.RequestedAt) {
		at = at.Add(day)
	}
	return at
}

// matchesList reports whether the list entry of the object matches the cached result. Only the date is compared,
// because a list has no version ids.
func matchesList(known, list cache.Result) bool {
	entry, ok := list.EntriesByName[strings.ToLower(known.Ref.Name)]
	return ok && !entry.Disabled && entry.Updated.Equal(known.Object.Updated)
}

// isConfirmedBy reports whether a list shows that the object is as it was read.
func isConfirmedBy(known, list cache.Result) bool {
	return known.Err == nil && hasConclusiveDate(known) && matchesList(known, list)
}
