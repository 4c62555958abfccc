package decodepool

import "github.com/akv2k8s/akv2k8s/src/keyvault"

// Remembered are the values themselves that are remembered, and the bytes that are counted for everything.
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

// Remember keeps an output under a key, as one of two who decoded the same at once.
func (p *Pool) Remember(key Key, output Output, err error) { p.remember(key, result{output, err}) }
