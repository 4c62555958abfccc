package azure

// CachedOtherTypes returns the number of missing objects with a cached type.
func (v *Fetcher) CachedOtherTypes() int {
	v.otherTypes.mu.Lock()
	defer v.otherTypes.mu.Unlock()
	return len(v.otherTypes.found)
}
