package iplimit

import "net/netip"

// AdmitConnection admits a connection of an address.
func AdmitConnection(g *Limiter, from netip.Addr) (leave func(), ok bool) {
	return g.admitConnection(from, nil)
}

// TrackedAddresses returns the number of tracked addresses.
func TrackedAddresses(g *Limiter) int { return g.idleByAddress.Len() + len(g.activeByAddress) }

// AdmitClosableConnection admits a connection that can be closed.
func AdmitClosableConnection(g *Limiter, from netip.Addr, end func()) (leave func(), ok bool) {
	return g.admitConnection(from, end)
}

// AdmitRequest admits a request of an address.
func AdmitRequest(g *Limiter, from netip.Addr) (leave func(), ok bool) { return g.admitRequest(from) }

// MemoryHolders returns the number of addresses that hold memory.
func MemoryHolders(g *Limiter) int { return len(g.memoryUse.usedByAddress) }
