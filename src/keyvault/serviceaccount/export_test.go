package serviceaccount

// Seen returns the number of cached ServiceAccounts.
func (a *Accounts) Seen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}
