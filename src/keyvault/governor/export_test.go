package governor

// Vaults returns the number of vaults with state.
func (g *Governor) Vaults() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults)
}

// Knows reports whether a vault has state.
func (g *Governor) Knows(vault string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.vaults[vault]
	return known
}

// Served returns the number of namespaces whose last admission a vault's queue remembers.
func (g *Governor) Served(vault string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults[vault].queue.served)
}
