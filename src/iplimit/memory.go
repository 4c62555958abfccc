package iplimit

import (
	"net/http"
	"net/netip"
)

// memoryUsage counts the bytes that requests hold. The mutex of the Limiter guards it.
type memoryUsage struct {
	shared, reserved int64
	// usedByAll are the bytes of all requests, strangers those of requests that do not come from the API server, and by
	// those of each address among the latter.
	usedByAll, usedByOthers int64
	usedByAddress           map[netip.Addr]int64
}

// MemoryReservation is the memory of one request.
type MemoryReservation struct {
	limiter       *Limiter
	address       netip.Addr
	fromAPIServer bool
	reservedBytes int64
}

// ReserveMemory returns the empty Holding of a request. The caller calls Release when the request ends.
func (g *Limiter) ReserveMemory(r *http.Request) *MemoryReservation {
	from := remoteAddress(r)
	return &MemoryReservation{limiter: g, address: from, fromAPIServer: hasCertificate(r) || g.isFromAPIServer(from)}
}

// IsFromAPIServer reports whether the request comes from the API server.
func (h *MemoryReservation) IsFromAPIServer() bool { return h.fromAPIServer }

// Resize changes the size to that many bytes. It returns false, and changes nothing, if the limit does not allow it: an
// address must leave as much free as it holds, and the reserved memory is for the API server alone.
func (h *MemoryReservation) Resize(bytes int64) bool {
	g, more := h.limiter, bytes-h.reservedBytes
	g.mu.Lock()
	defer g.mu.Unlock()
	m, address := &g.memoryUse, addressKey(h.address)
	if more > 0 {
		fits := m.usedByAll+more <= m.shared+m.reserved
		if !h.fromAPIServer {
			fits = fits && m.usedByAddress[address]+more <= m.shared-m.usedByOthers-more
		}
		if !fits {
			g.recordRejection(h.address, "memory")
			return false
		}
	}
	h.reservedBytes, m.usedByAll = bytes, m.usedByAll+more
	if h.fromAPIServer {
		return true
	}
	m.usedByOthers += more
	if m.usedByAddress[address] += more; m.usedByAddress[address] == 0 {
		delete(m.usedByAddress, address)
	}
	return true
}

// Release releases all memory of the request.
func (h *MemoryReservation) Release() { h.Resize(0) }
