package governor

// Vaults is how many vaults are remembered.
func (g *Governor) Vaults() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults)
}

// Knows says whether a vault is remembered.
func (g *Governor) Knows(vault string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.vaults[vault]
	return known
}

// Served is of how many namespaces a vault's queue remembers the last turn.
func (g *Governor) Served(vault string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults[vault].queue.served)
}
