package reader

// Remembered is how many lists, pairs of vault and identity, and bytes a reader remembers.
func (r *Reader) Remembered() (lists, parties, bytes int) {
	r.mu.Lock()
	lists, bytes = len(r.censuses), r.memory.size
	r.mu.Unlock()
	r.doors.mu.Lock()
	defer r.doors.mu.Unlock()
	return lists, len(r.doors.parties), bytes
}

// Watched is how many objects are looked at again and again.
func (r *Reader) Watched() (objects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.censuses {
		objects += len(c.watched)
	}
	return objects
}
