package gate

import "net/netip"

// Connect counts a connection of an address.
func Connect(g *Gate, from netip.Addr) (leave func(), ok bool) { return g.connect(from) }

// Remembered is of how many addresses something is known.
func Remembered(g *Gate) int { return g.sources.Len() }
