package decodepool

import "github.com/akv2k8s/akv2k8s/src/keyvault"

// CachedValues returns the cached values themselves, not copies, and the size of the cache in bytes.
func (p *Pool) CachedValues() (values []keyvault.Value, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.cache.recentlyUsed.Front(); e != nil; e = e.Next() {
		for _, value := range e.Value.(*cacheEntry).output.Values {
			values = append(values, value)
		}
	}
	return values, p.cache.totalBytes
}

// CacheResult caches an output, as a concurrent decode of the same input would.
func (p *Pool) CacheResult(key CacheKey, output Output, err error) {
	p.cacheResult(key, result{output, err})
}
