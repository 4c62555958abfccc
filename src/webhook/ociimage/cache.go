package ociimage

import (
	"container/list"
	"sync"
)

// entryBytes is the memory of a cache entry besides its key and value: list element, map slot and their headers.
const entryBytes = 200

// cache is an LRU cache that is limited by bytes. Caches of libraries count entries, and an untrusted registry chooses
// the size of an entry.
type cache[V any] struct {
	mu          sync.Mutex
	bound, size int
	sizeOf      func(V) int
	order       *list.List
	entries     map[string]*list.Element
}

type cached[V any] struct {
	key   string
	value V
	size  int
}

func newCache[V any](bound int, sizeOf func(V) int) *cache[V] {
	return &cache[V]{bound: bound, sizeOf: sizeOf, order: list.New(), entries: map[string]*list.Element{}}
}

func (c *cache[V]) get(key string) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(element)
	return element.Value.(cached[V]).value, true
}

func (c *cache[V]) add(key string, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	size := entryBytes + len(key) + c.sizeOf(value)
	if size > c.bound {
		return
	}
	c.entries[key] = c.order.PushFront(cached[V]{key, value, size})
	for c.size += size; c.size > c.bound; {
		c.remove(c.order.Back().Value.(cached[V]).key)
	}
}

func (c *cache[V]) remove(key string) {
	if element, ok := c.entries[key]; ok {
		c.size -= c.order.Remove(element).(cached[V]).size
		delete(c.entries, key)
	}
}
