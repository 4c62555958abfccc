package cache

// UsedBytes returns the bytes in the cache.
func (c *Cache) UsedBytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.results.usedBytes
}
