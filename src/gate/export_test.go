package gate

import "net/netip"

// Connect admits a connection of an address.
func Connect(g *Gate, from netip.Addr) (leave func(), ok bool) { return g.connect(from, nil) }

// Remembered returns the number of tracked addresses.
func Remembered(g *Gate) int { return g.idle.Len() + len(g.active) }

// ConnectEnding admits a connection that can be closed.
func ConnectEnding(g *Gate, from netip.Addr, end func()) (leave func(), ok bool) {
	return g.connect(from, end)
}

// Request admits a request of an address.
func Request(g *Gate, from netip.Addr) (leave func(), ok bool) { return g.request(from) }

// Holders returns the number of addresses that hold memory.
func Holders(g *Gate) int { return len(g.memory.by) }
