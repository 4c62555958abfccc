package ratelimit

// TrackedVaults returns the number of vaults with state.
func (g *Limiter) TrackedVaults() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults)
}

// TracksVault reports whether a vault has state.
func (g *Limiter) TracksVault(vault string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.vaults[vault]
	return known
}

// TrackedNamespaces returns the number of namespaces whose last admission a vault's queue remembers.
func (g *Limiter) TrackedNamespaces(vault string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults[vault].queue.lastAdmission)
}
