package reader

import (
	"container/list"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// fetchResult is the result of a call, with the time at which the call began.
type fetchResult struct {
	ref         keyvault.Ref
	object      keyvault.Object
	err         error
	requestedAt time.Time
	// confirmedAt is the start of the last list call that confirmed the result; zero if no list did.
	confirmedAt time.Time
	// refreshInterval is the refresh interval, and lastWantedAt is the time of the last refresh.
	refreshInterval time.Duration
	lastWantedAt    time.Time
	// entriesByName maps lower-case names to the entries of a list.
	entriesByName map[string]keyvault.Entry
	// cachedBytes is the size that the cache counts for the result.
	cachedBytes int
}

// asOf returns the latest time for which the vault confirmed the result.
func (a *fetchResult) asOf() time.Time {
	if a.confirmedAt.After(a.requestedAt) {
		return a.confirmedAt
	}
	return a.requestedAt
}

// resultOverheadBytes is the approximate memory of a cached result besides its content, in bytes.
const resultOverheadBytes = 512

func (a *fetchResult) size() int {
	size := resultOverheadBytes + a.object.Value.Len() + len(a.object.ContentType)
	for _, e := range a.object.Entries {
		size += 2 * e.Size() // in the list and in its index
	}
	for name, value := range a.object.Tags {
		size += len(name) + len(value)
	}
	return size
}

// copyObject returns the object with its own copy of the value. The cache wipes its value when the result is removed.
func (a *fetchResult) copyObject() keyvault.Object {
	object := a.object
	if object.Value.Len() > 0 {
		content := object.Value.Reveal()
		object.Value = keyvault.NewValue(content)
		clear(content)
	}
	return object
}

// lruCache is a cache of results with limits on number, bytes and age. It is not safe for concurrent use.
type lruCache struct {
	maxEntries, maxBytes int
	ttl                  time.Duration

	elements map[keyvault.Ref]*list.Element
	// lru lists the results, most recently used first.
	lru       list.List
	usedBytes int
}

func (m *lruCache) get(ref keyvault.Ref) (*fetchResult, bool) {
	e, ok := m.elements[ref]
	if !ok {
		return nil, false
	}
	m.lru.MoveToFront(e)
	return e.Value.(*fetchResult), true
}

// put caches a result that can be shared. A Denied, Disabled or NotFound result replaces a successful one: a caller
// that lost access must not be served from the cache.
func (m *lruCache) put(a fetchResult) {
	switch fault.KindOf(a.err) {
	case "", fault.NotFound, fault.Denied, fault.Disabled:
		m.remove(a.ref)
		a.object = a.copyObject()
		a.cachedBytes = a.size()
		m.elements[a.ref] = m.lru.PushFront(&a)
		m.usedBytes += a.cachedBytes
	case fault.Unauthenticated:
		m.remove(a.ref)
	}
	for m.lru.Len() > m.maxEntries || m.usedBytes > m.maxBytes {
		m.remove(m.lru.Back().Value.(*fetchResult).ref)
	}
}

// remove removes a result and wipes its value.
func (m *lruCache) remove(ref keyvault.Ref) {
	e, ok := m.elements[ref]
	if !ok {
		return
	}
	a := m.lru.Remove(e).(*fetchResult)
	delete(m.elements, ref)
	m.usedBytes -= a.cachedBytes
	a.object.Value.Wipe()
}

// removeExpired removes expired results. The result of a refreshed object stays until two refreshes failed to happen.
// It also stays while a vault is unavailable: afterwards a list tells which objects changed, so the others need no new
// read.
func (m *lruCache) removeExpired(now time.Time) {
	for e := m.lru.Front(); e != nil; {
		a := e.Value.(*fetchResult)
		e = e.Next()
		age, unwanted := now.Sub(a.asOf()), now.Sub(a.lastWantedAt)
		if age > max(m.ttl, limits.CachedAnswerAge) ||
			min(age, unwanted) > max(m.ttl, min(2*a.refreshInterval, limits.CachedAnswerAge)) {
			m.remove(a.ref)
		}
	}
}
