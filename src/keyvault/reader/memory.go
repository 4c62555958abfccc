package reader

import (
	"container/list"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// answer is the result of a call, with the time at which the call began.
type answer struct {
	ref    keyvault.Ref
	object keyvault.Object
	err    error
	asked  time.Time
	// confirmed is the start of the last list call that confirmed the result; zero if no list did.
	confirmed time.Time
	// every is the refresh interval, and lastWantedAt is the time of the last refresh.
	every  time.Duration
	wanted time.Time
	// index maps lower-case names to the entries of a list.
	index map[string]keyvault.Entry
	// bytes is the size that the cache counts for the result.
	bytes int
}

// asOf returns the latest time for which the vault confirmed the result.
func (a *answer) asOf() time.Time {
	if a.confirmed.After(a.asked) {
		return a.confirmed
	}
	return a.asked
}

// overhead is the approximate memory of a cached result besides its content, in bytes.
const overhead = 512

func (a *answer) size() int {
	size := overhead + a.object.Value.Len() + len(a.object.ContentType)
	for _, e := range a.object.Entries {
		size += 2 * e.Size() // in the list and in its index
	}
	for name, value := range a.object.Tags {
		size += len(name) + len(value)
	}
	return size
}

// copied returns the object with its own copy of the value. The cache wipes its value when the result is removed.
func (a *answer) copied() keyvault.Object {
	object := a.object
	if object.Value.Len() > 0 {
		content := object.Value.Reveal()
		object.Value = keyvault.NewValue(content)
		clear(content)
	}
	return object
}

// memory is a cache of results with limits on number, bytes and age. It is not safe for concurrent use.
type memory struct {
	entries, bytes int
	keep           time.Duration

	known map[keyvault.Ref]*list.Element
	// order lists the results, most recently used first.
	order list.List
	size  int
}

func (m *memory) get(ref keyvault.Ref) (*answer, bool) {
	e, ok := m.known[ref]
	if !ok {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*answer), true
}

// put caches a result that can be shared. A Denied, Disabled or NotFound result replaces a successful one: a caller
// that lost access must not be served from the cache.
func (m *memory) put(a answer) {
	switch fault.KindOf(a.err) {
	case "", fault.NotFound, fault.Denied, fault.Disabled:
		m.drop(a.ref)
		a.object = a.copied()
		a.bytes = a.size()
		m.known[a.ref] = m.order.PushFront(&a)
		m.size += a.bytes
	case fault.Unauthenticated:
		m.drop(a.ref)
	}
	for m.order.Len() > m.entries || m.size > m.bytes {
		m.drop(m.order.Back().Value.(*answer).ref)
	}
}

// drop removes a result and wipes its value.
func (m *memory) drop(ref keyvault.Ref) {
	e, ok := m.known[ref]
	if !ok {
		return
	}
	a := m.order.Remove(e).(*answer)
	delete(m.known, ref)
	m.size -= a.bytes
	a.object.Value.Wipe()
}

// sweep removes expired results. The result of a refreshed object stays until two refreshes failed to happen. It also
// stays while a vault is unavailable: afterwards a list tells which objects changed, so the others need no new read.
func (m *memory) sweep(now time.Time) {
	for e := m.order.Front(); e != nil; {
		a := e.Value.(*answer)
		e = e.Next()
		age, unwanted := now.Sub(a.asOf()), now.Sub(a.wanted)
		if age > max(m.keep, limits.RememberedTime) ||
			min(age, unwanted) > max(m.keep, min(2*a.every, limits.RememberedTime)) {
			m.drop(a.ref)
		}
	}
}
