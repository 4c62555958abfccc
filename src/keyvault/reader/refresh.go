package reader

import (
	"context"
	"hash/fnv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// listRefOf returns the list that contains an object.
func listRefOf(ref keyvault.Ref) keyvault.Ref {
	return keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind.ListKind(), Identity: ref.Identity}
}

// readThroughList reads an object, from the cache if a list confirms the cached result. It calls the vault for an
// object that is not cached, for a pinned version, for an object whose list entry is missing or differs, for a result
// that was read so soon after a change that a list can't detect the next one, and once a day for every object.
func (r *Reader) readThroughList(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (fetchResult, string) {
	purpose := keyvault.PurposeOf(ctx)
	if purpose.RefreshInterval <= 0 || ref.Version != "" || ref.Kind.ListKind() == "" {
		return r.readShared(ctx, ref, maxAge)
	}
	if !r.canConfirmByList(ref, maxAge, purpose) {
		return r.readShared(ctx, ref, maxAge)
	}
	list, _ := r.readShared(ctx, listRefOf(ref), purpose.RefreshInterval)
	switch {
	case list.err == nil:
	case r.canWaitForList(listRefOf(ref), list.err):
		// Reading each object would add load to a throttled vault, and these reads would delay the next list.
		err := list.err
		if !ratelimit.IsDeferred(err) { // the error is about the list, not about the object
			err = ratelimit.PausedError(ref.Vault, max(fault.RetryAfter(err), time.Second))
		}
		return fetchResult{ref: ref, err: err}, sourceList
	default:
		r.avoidList(listRefOf(ref), list.err)
		return r.readShared(ctx, ref, maxAge)
	}
	r.mu.Lock()
	if known, ok := r.cache.get(ref); ok && known.isConfirmedBy(list) {
		known.confirmedAt, known.refreshInterval = list.requestedAt, purpose.RefreshInterval
		given := *known
		given.object = known.copyObject()
		r.mu.Unlock()
		return given, sourceList
	}
	r.mu.Unlock()
	// A result that is older than the list does not count any more.
	return r.readShared(ctx, ref, min(maxAge, r.config.Clock().Sub(list.requestedAt)))
}

// canConfirmByList reports whether a list can confirm the cached result of an object. It also records the refresh.
func (r *Reader) canConfirmByList(ref keyvault.Ref, maxAge time.Duration, p keyvault.Purpose) bool {
	now := r.config.Clock()
	r.mu.Lock()
	known, ok := r.cache.get(ref)
	if ok {
		known.lastWantedAt = now
	}
	c, counted := r.plans[listRefOf(ref)]
	if !counted { // the vault has not returned an object yet
		r.mu.Unlock()
		return false
	}
	c.trackObject(ref, p.RefreshInterval, now)
	was, is := c.method, c.chooseMethod(p.RefreshInterval, now)
	c.method = is
	ok = ok && known.err == nil && !r.isFresh(known, maxAge, p) && known.hasConclusiveDate() &&
		!now.After(known.nextDailyRead())
	r.mu.Unlock()
	if was != is && r.config.Observer != nil {
		r.config.Observer.RecordChangeDetection(listRefOf(ref), was, is)
	}
	return ok && is == methodList && p.Priority == keyvault.PriorityRefresh
}

// trackObject tracks an object whose vault returned it. Users can name vaults that do not exist, so nothing is stored
// for a name before that; the caller holds mu.
func (r *Reader) trackObject(ref keyvault.Ref, every time.Duration) {
	now := r.config.Clock()
	c, ok := r.plans[listRefOf(ref)]
	if !ok {
		if len(r.plans) >= limits.RefreshedLists {
			return
		}
		c = newRefreshPlan(now)
		r.plans[listRefOf(ref)] = c
	}
	c.trackObject(ref, every, now)
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
func (r *Reader) canWaitForList(list keyvault.Ref, err error) bool {
	if ratelimit.IsPaused(err) || !ratelimit.IsDeferred(err) {
		return fault.KindOf(err) == fault.Throttled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.plans[list]
	return ok && c.lateLists < maxLateLists
}

// avoidList suspends requests of a list that was rejected, is invalid or takes too long. Meanwhile each object is read.
func (r *Reader) avoidList(list keyvault.Ref, err error) {
	wait := rejectedListRetry
	switch {
	case ratelimit.IsDeferred(err):
		wait = lateListRetry
	case fault.KindOf(err).IsTransient():
		wait = failedListRetry
	}
	r.mu.Lock()
	c, ok := r.plans[list]
	news := ok && !r.config.Clock().Before(c.avoidListUntil)
	if ok {
		c.avoidListUntil, c.lateLists = r.config.Clock().Add(wait), 0
	}
	r.mu.Unlock()
	if news && r.config.Observer != nil {
		r.config.Observer.RecordListUnavailable(list, err, wait)
	}
}

// applyList processes a list, or its error, and returns the cached objects whose entries differ; the caller holds mu.
func (r *Reader) applyList(list *fetchResult) (changed []keyvault.Ref) {
	c, ok := r.plans[list.ref]
	if list.err != nil {
		if ok && ratelimit.IsDeferred(list.err) && !ratelimit.IsPaused(list.err) {
			c.lateLists++
		}
		return nil
	}
	list.entriesByName = make(map[string]keyvault.Entry, len(list.object.Entries))
	for _, e := range list.object.Entries {
		list.entriesByName[strings.ToLower(e.Name)] = e
	}
	if !ok {
		return nil
	}
	c.listEntries, c.lateLists = len(list.object.Entries), 0
	for ref := range c.tracked {
		if known, ok := r.cache.get(ref); ok && known.err == nil && known.requestedAt.Before(list.requestedAt) &&
			!known.matchesList(*list) {
			changed = append(changed, ref)
		}
	}
	return changed
}

// dateMargin is the minimum time between a change and a read for the next change to get a different date.
const dateMargin = 2 * time.Second

// hasConclusiveDate reports whether the next change of the object will change its date. Dates of a vault have a
// resolution of one second.
func (a *fetchResult) hasConclusiveDate() bool {
	return !a.object.Updated.IsZero() && a.object.Updated.Before(a.object.ResponseDate.Add(-dateMargin))
}

// nextDailyRead returns the time of the object's daily read, which no list replaces. The hash of the name spreads
// objects over the day.
func (a *fetchResult) nextDailyRead() time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.ref.Vault + "/" + string(a.ref.Kind) + "/" + a.ref.Name))
	const day = 24 * time.Hour
	at := a.requestedAt.Truncate(day).Add(time.Duration(h.Sum64() % uint64(day)))
	if !at.After(a.requestedAt) {
		at = at.Add(day)
	}
	return at
}

// matchesList reports whether the list entry of the object matches the cached result. Only the date is compared,
// because a list has no version ids.
func (a *fetchResult) matchesList(list fetchResult) bool {
	entry, ok := list.entriesByName[strings.ToLower(a.ref.Name)]
	return ok && !entry.Disabled && entry.Updated.Equal(a.object.Updated)
}

func (a *fetchResult) isConfirmedBy(list fetchResult) bool {
	return a.err == nil && a.hasConclusiveDate() && a.matchesList(list)
}
