package serviceaccount

// CachedAccounts returns the number of cached ServiceAccounts.
func (a *Accounts) CachedAccounts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.cached)
}
