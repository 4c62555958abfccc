package reader

import (
	"context"
	"hash/fnv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/governor"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// listOf returns the list that contains an object.
func listOf(ref keyvault.Ref) keyvault.Ref {
	return keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind.List(), As: ref.As}
}

// look reads an object, from the cache if a list confirms the cached result. It calls the vault for an object that is
// not cached, for a pinned version, for an object whose list entry is missing or differs, for a result that was read so
// soon after a change that a list can't detect the next one, and once a day for every object.
func (r *Reader) look(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (answer, string) {
	purpose := keyvault.PurposeOf(ctx)
	if purpose.Every <= 0 || ref.Version != "" || ref.Kind.List() == "" {
		return r.ask(ctx, ref, maxAge)
	}
	if !r.listable(ref, maxAge, purpose) {
		return r.ask(ctx, ref, maxAge)
	}
	list, _ := r.ask(ctx, listOf(ref), purpose.Every)
	switch {
	case list.err == nil:
	case r.worthWaiting(listOf(ref), list.err):
		// Reading each object would add load to a throttled vault, and these reads would delay the next list.
		err := list.err
		if !governor.PutOff(err) { // the error is about the list, not about the object
			err = governor.Pause(ref.Vault, max(fault.RetryAfter(err), time.Second))
		}
		return answer{ref: ref, err: err}, fromList
	default:
		r.shun(listOf(ref), list.err)
		return r.ask(ctx, ref, maxAge)
	}
	r.mu.Lock()
	if known, ok := r.memory.get(ref); ok && known.unchanged(list) {
		known.confirmed, known.every = list.asked, purpose.Every
		given := *known
		given.object = known.copied()
		r.mu.Unlock()
		return given, fromList
	}
	r.mu.Unlock()
	// A result that is older than the list does not count any more.
	return r.ask(ctx, ref, min(maxAge, r.config.Clock().Sub(list.asked)))
}

// listable reports whether a list can confirm the cached result of an object. It also records the refresh.
func (r *Reader) listable(ref keyvault.Ref, maxAge time.Duration, p keyvault.Purpose) bool {
	now := r.config.Clock()
	r.mu.Lock()
	known, ok := r.memory.get(ref)
	if ok {
		known.wanted = now
	}
	c, counted := r.censuses[listOf(ref)]
	if !counted { // the vault has not returned an object yet
		r.mu.Unlock()
		return false
	}
	c.note(ref, p.Every, now)
	was, is := c.method, c.choose(p.Every, now)
	c.method = is
	ok = ok && known.err == nil && !r.usable(known, maxAge, p) && known.settled() && !now.After(known.daily())
	r.mu.Unlock()
	if was != is && r.config.Observer != nil {
		r.config.Observer.Detects(listOf(ref), was, is)
	}
	return ok && is == byList && p.Priority == keyvault.Refresh
}

// watch tracks an object whose vault returned it. Users can name vaults that do not exist, so nothing is stored for a
// name before that; the caller holds mu.
func (r *Reader) watch(ref keyvault.Ref, every time.Duration) {
	now := r.config.Clock()
	c, ok := r.censuses[listOf(ref)]
	if !ok {
		if len(r.censuses) >= limits.WatchedLists {
			return
		}
		c = newCensus(now)
		r.censuses[listOf(ref)] = c
	}
	c.note(ref, every, now)
}

// The times after which a failed list is requested again.
const (
	afterRefusal  = time.Hour
	afterLateness = 5 * time.Minute
	afterTrouble  = time.Minute
)

// tooSlow is the number of consecutive lists delayed by the rate limit after which objects are read one by one.
const tooSlow = 3

// worthWaiting reports whether a list failed only because of throttling, so the refresh can wait for the next list.
func (r *Reader) worthWaiting(list keyvault.Ref, err error) bool {
	if governor.Paused(err) || !governor.PutOff(err) {
		return fault.KindOf(err) == fault.Throttled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.censuses[list]
	return ok && c.late < tooSlow
}

// shun suspends requests of a list that was rejected, is invalid or takes too long. Meanwhile each object is read.
func (r *Reader) shun(list keyvault.Ref, err error) {
	wait := afterRefusal
	switch {
	case governor.PutOff(err):
		wait = afterLateness
	case fault.KindOf(err).Transient():
		wait = afterTrouble
	}
	r.mu.Lock()
	c, ok := r.censuses[list]
	news := ok && !r.config.Clock().Before(c.avoid)
	if ok {
		c.avoid, c.late = r.config.Clock().Add(wait), 0
	}
	r.mu.Unlock()
	if news && r.config.Observer != nil {
		r.config.Observer.Refused(list, err, wait)
	}
}

// listed processes a list, or its error, and returns the cached objects whose entries differ; the caller holds mu.
func (r *Reader) listed(list *answer) (changed []keyvault.Ref) {
	c, ok := r.censuses[list.ref]
	if list.err != nil {
		if ok && governor.PutOff(list.err) && !governor.Paused(list.err) {
			c.late++
		}
		return nil
	}
	list.index = make(map[string]keyvault.Entry, len(list.object.Entries))
	for _, e := range list.object.Entries {
		list.index[strings.ToLower(e.Name)] = e
	}
	if !ok {
		return nil
	}
	c.entries, c.late = len(list.object.Entries), 0
	for ref := range c.watched {
		if known, ok := r.memory.get(ref); ok && known.err == nil && known.asked.Before(list.asked) &&
			!known.same(*list) {
			changed = append(changed, ref)
		}
	}
	return changed
}

// margin is the minimum time between a change and a read for the next change to get a different date.
const margin = 2 * time.Second

// settled reports whether the next change of the object will change its date. Dates of a vault have a resolution of one
// second.
func (a *answer) settled() bool {
	return !a.object.Updated.IsZero() && a.object.Updated.Before(a.object.Answered.Add(-margin))
}

// daily returns the time of the object's daily read, which no list replaces. The hash of the name spreads objects over
// the day.
func (a *answer) daily() time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.ref.Vault + "/" + string(a.ref.Kind) + "/" + a.ref.Name))
	const day = 24 * time.Hour
	at := a.asked.Truncate(day).Add(time.Duration(h.Sum64() % uint64(day)))
	if !at.After(a.asked) {
		at = at.Add(day)
	}
	return at
}

// same reports whether the list entry of the object matches the cached result. Only the date is compared, because a
// list has no version ids.
func (a *answer) same(list answer) bool {
	entry, ok := list.index[strings.ToLower(a.ref.Name)]
	return ok && !entry.Disabled && entry.Updated.Equal(a.object.Updated)
}

func (a *answer) unchanged(list answer) bool { return a.err == nil && a.settled() && a.same(list) }
