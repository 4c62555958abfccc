package governor

// Vaults is how many vaults are remembered.
func (g *Governor) Vaults() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.vaults)
}
