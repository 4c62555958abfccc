package ociimage

import (
	"container/list"
	"sync"
)

// entryOverheadBytes is the memory of a cache entry besides its key and value: list element, map slot and their
// headers.
const entryOverheadBytes = 200

// cache is an LRU cache that is limited by bytes. Caches of libraries count entries, and an untrusted registry chooses
// the size of an entry.
type cache[V any] struct {
	mu                  sync.Mutex
	maxBytes, usedBytes int
	sizeOf              func(V) int
	order               *list.List
	entries             map[string]*list.Element
}

type cacheEntry[V any] struct {
	key   string
	value V
	size  int
}

func newCache[V any](bound int, sizeOf func(V) int) *cache[V] {
	return &cache[V]{maxBytes: bound, sizeOf: sizeOf, order: list.New(), entries: map[string]*list.Element{}}
}

func (c *cache[V]) get(key string) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(element)
	return element.Value.(cacheEntry[V]).value, true
}

func (c *cache[V]) add(key string, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	size := entryOverheadBytes + len(key) + c.sizeOf(value)
	if size > c.maxBytes {
		return
	}
	c.entries[key] = c.order.PushFront(cacheEntry[V]{key, value, size})
	for c.usedBytes += size; c.usedBytes > c.maxBytes; {
		c.remove(c.order.Back().Value.(cacheEntry[V]).key)
	}
}

func (c *cache[V]) remove(key string) {
	if element, ok := c.entries[key]; ok {
		c.usedBytes -= c.order.Remove(element).(cacheEntry[V]).size
		delete(c.entries, key)
	}
}
