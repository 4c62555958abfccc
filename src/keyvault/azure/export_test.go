package azure

// OtherTypes is of how many missing objects another type is remembered.
func (v *Vaults) OtherTypes() int {
	v.others.mu.Lock()
	defer v.others.mu.Unlock()
	return len(v.others.known)
}
