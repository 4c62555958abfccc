package cache

import (
	"container/list"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// lruCache is a cache of results with limits on number, bytes and age. It is not safe for concurrent use.
type lruCache struct {
	maxEntries, maxBytes int
	ttl                  time.Duration

	elements map[keyvault.Ref]*list.Element
	// lru lists the results, most recently used first.
	lru       list.List
	usedBytes int
}

func newLRUCache(c Config) lruCache {
	return lruCache{maxEntries: c.Entries, maxBytes: c.Bytes, ttl: c.TTL, elements: map[keyvault.Ref]*list.Element{}}
}

func (m *lruCache) get(ref keyvault.Ref) (*Result, bool) {
	e, ok := m.elements[ref]
	if !ok {
		return nil, false
	}
	m.lru.MoveToFront(e)
	return e.Value.(*Result), true
}

// put caches a result that can be shared. A Denied, Disabled or NotFound result replaces a successful one: a caller
// that lost access must not be served from the cache.
func (m *lruCache) put(a Result) {
	switch fault.KindOf(a.Err) {
	case "", fault.NotFound, fault.Denied, fault.Disabled:
		m.remove(a.Ref)
		a.Object = a.copyObject()
		a.cachedBytes = a.size()
		m.elements[a.Ref] = m.lru.PushFront(&a)
		m.usedBytes += a.cachedBytes
	case fault.Unauthenticated:
		m.remove(a.Ref)
	}
	for m.lru.Len() > m.maxEntries || m.usedBytes > m.maxBytes {
		m.remove(m.lru.Back().Value.(*Result).Ref)
	}
}

// remove removes a result and wipes its value.
func (m *lruCache) remove(ref keyvault.Ref) {
	e, ok := m.elements[ref]
	if !ok {
		return
	}
	a := m.lru.Remove(e).(*Result)
	delete(m.elements, ref)
	m.usedBytes -= a.cachedBytes
	a.Object.Value.Wipe()
}

// removeExpired removes expired results. The result of a refreshed object stays until two refreshes failed to happen.
// It also stays while a vault is unavailable: afterwards a list tells which objects changed, so the others need no new
// read.
func (m *lruCache) removeExpired(now time.Time) {
	for e := m.lru.Front(); e != nil; {
		a := e.Value.(*Result)
		e = e.Next()
		age, unwanted := now.Sub(a.asOf()), now.Sub(a.lastRefreshedAt)
		if age > max(m.ttl, limits.CachedAnswerAge) ||
			min(age, unwanted) > max(m.ttl, min(2*a.RefreshInterval, limits.CachedAnswerAge)) {
			m.remove(a.Ref)
		}
	}
}
