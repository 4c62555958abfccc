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

// listOf is the list that an object is in.
func listOf(ref keyvault.Ref) keyvault.Ref {
	return keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind.List(), As: ref.As}
}

// look gives an object from memory if a list says that it is still so. Everything else is asked of the vault itself:
// what memory does not have, a pinned version, what a list does not have or has otherwise, what changed so shortly
// before it was read that the list's seconds can't tell, and each object once a day.
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
		// To read each object is the last thing that the vault needs, and the list would have to wait for all of them
		// next time.
		err := list.err
		if !governor.PutOff(err) { // nothing is known of the object itself
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
	// What was read before the list was is not good enough any more.
	return r.ask(ctx, ref, min(maxAge, r.config.Clock().Sub(list.asked)))
}

// listable says whether a list may answer for an object that is looked at again.
func (r *Reader) listable(ref keyvault.Ref, maxAge time.Duration, p keyvault.Purpose) bool {
	now := r.config.Clock()
	r.mu.Lock()
	known, ok := r.memory.get(ref)
	if ok {
		known.wanted = now
	}
	c, counted := r.censuses[listOf(ref)]
	if !counted { // its vault has not answered yet
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

// watch counts an object that its vault has answered for. Users name vaults, also ones that do not exist, so nothing is
// kept of a name before that; the caller holds mu.
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

// The waits after which a list that failed is asked for again.
const (
	afterRefusal  = time.Hour
	afterLateness = 5 * time.Minute
	afterTrouble  = time.Minute
)

// tooSlow is after how many lists in a row that did not come in time, at the pace that the vault allows, objects are
// read one by one.
const tooSlow = 3

// worthWaiting says whether a list did not come only because its vault has to be spared.
func (r *Reader) worthWaiting(list keyvault.Ref, err error) bool {
	if governor.Paused(err) || !governor.PutOff(err) {
		return fault.KindOf(err) == fault.Throttled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.censuses[list]
	return ok && c.late < tooSlow
}

// shun keeps away from a list that was refused, is broken or takes too long; each object is read meanwhile.
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

// listed takes in a list that has come or has failed, and gives the objects in memory that it has otherwise; the caller
// holds mu.
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

// margin is how long before it was read a change has to be so that another one at the same second would be seen.
const margin = 2 * time.Second

// settled says whether a later change would show in the date: the vault's dates have seconds alone.
func (a *answer) settled() bool {
	return !a.object.Updated.IsZero() && a.object.Updated.Before(a.object.Answered.Add(-margin))
}

// daily is when the object is read again whatever lists say: at its own moment of the day.
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

// same says whether a list has the object as it was read. Version and date are those of the read: a list names no
// version, and what came between the two would be missed.
func (a *answer) same(list answer) bool {
	entry, ok := list.index[strings.ToLower(a.ref.Name)]
	return ok && !entry.Disabled && entry.Updated.Equal(a.object.Updated)
}

func (a *answer) unchanged(list answer) bool { return a.err == nil && a.settled() && a.same(list) }
