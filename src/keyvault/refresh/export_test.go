package refresh

// TrackedLists returns the number of tracked lists.
func (f *Fetcher) TrackedLists() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.plans)
}

// TrackedObjects returns the number of tracked objects.
func (f *Fetcher) TrackedObjects() (objects int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.plans {
		objects += len(p.tracked)
	}
	return objects
}
