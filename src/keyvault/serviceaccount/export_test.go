package serviceaccount

// Seen is how many accounts are remembered.
func (a *Accounts) Seen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}
