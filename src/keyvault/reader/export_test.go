package reader

// RetainedState returns the number of tracked lists, the number of circuit breakers, and the bytes in the cache.
func (r *Reader) RetainedState() (lists, parties, bytes int) {
	r.mu.Lock()
	lists, bytes = len(r.plans), r.cache.usedBytes
	r.mu.Unlock()
	r.breakers.mu.Lock()
	defer r.breakers.mu.Unlock()
	return lists, len(r.breakers.byKey), bytes
}

// TrackedObjects returns the number of tracked objects.
func (r *Reader) TrackedObjects() (objects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.plans {
		objects += len(c.tracked)
	}
	return objects
}
