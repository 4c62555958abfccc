package breaker

// Breakers returns the number of circuit breakers.
func (f *Fetcher) Breakers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.breakers)
}
