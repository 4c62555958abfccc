package gate

import "net/netip"

// Connect counts a connection of an address.
func Connect(g *Gate, from netip.Addr) (leave func(), ok bool) { return g.connect(from, nil) }

// Remembered is of how many addresses something is known.
func Remembered(g *Gate) int { return g.idle.Len() + len(g.active) }

// ConnectEnding counts a connection that can be closed.
func ConnectEnding(g *Gate, from netip.Addr, end func()) (leave func(), ok bool) {
	return g.connect(from, end)
}

// Request counts a request of an address.
func Request(g *Gate, from netip.Addr) (leave func(), ok bool) { return g.request(from) }

// Holders is of how many addresses the memory is counted.
func Holders(g *Gate) int { return len(g.memory.by) }
