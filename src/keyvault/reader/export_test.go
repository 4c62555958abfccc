package reader

// Remembered returns the number of tracked lists, the number of circuit breakers, and the bytes in the cache.
func (r *Reader) Remembered() (lists, parties, bytes int) {
	r.mu.Lock()
	lists, bytes = len(r.censuses), r.memory.size
	r.mu.Unlock()
	r.doors.mu.Lock()
	defer r.doors.mu.Unlock()
	return lists, len(r.doors.parties), bytes
}

// Watched returns the number of tracked objects.
func (r *Reader) Watched() (objects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.censuses {
		objects += len(c.watched)
	}
	return objects
}
