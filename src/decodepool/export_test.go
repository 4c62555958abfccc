package decodepool

import "github.com/akv2k8s/akv2k8s/src/keyvault"

// Remembered returns the cached values themselves, not copies, and the size of the cache in bytes.
func (p *Pool) Remembered() (values []keyvault.Value, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.cache.recent.Front(); e != nil; e = e.Next() {
		for _, value := range e.Value.(*entry).output.Values {
			values = append(values, value)
		}
	}
	return values, p.cache.size
}

// Remember caches an output, as a concurrent decode of the same input would.
func (p *Pool) Remember(key Key, output Output, err error) { p.remember(key, result{output, err}) }
