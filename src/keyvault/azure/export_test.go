package azure

// OtherTypes returns the number of missing objects with a cached type.
func (v *Vaults) OtherTypes() int {
	v.others.mu.Lock()
	defer v.others.mu.Unlock()
	return len(v.others.known)
}
