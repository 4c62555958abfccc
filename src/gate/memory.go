package gate

import (
	"net/http"
	"net/netip"
)

// memory counts the bytes that requests hold. The gate's mutex guards it.
type memory struct {
	shared, reserved int64
	// used are the bytes of all requests, strangers those of requests that do not come from the API server, and by
	// those of each address among the latter.
	used, strangers int64
	by              map[netip.Addr]int64
}

// Holding is the memory of one request.
type Holding struct {
	gate    *Gate
	from    netip.Addr
	trusted bool
	held    int64
}

// Hold returns the empty Holding of a request. The caller calls Release when the request ends.
func (g *Gate) Hold(r *http.Request) *Holding {
	from := addressOf(r)
	return &Holding{gate: g, from: from, trusted: hasCertificate(r) || g.isKnown(from)}
}

// Trusted reports whether the request comes from the API server.
func (h *Holding) Trusted() bool { return h.trusted }

// Set changes the size to that many bytes. It returns false, and changes nothing, if the limit does not allow it: an
// address must leave as much free as it holds, and the reserved memory is for the API server alone.
func (h *Holding) Set(bytes int64) bool {
	g, more := h.gate, bytes-h.held
	g.mu.Lock()
	defer g.mu.Unlock()
	m, address := &g.memory, key(h.from)
	if more > 0 {
		fits := m.used+more <= m.shared+m.reserved
		if !h.trusted {
			fits = fits && m.by[address]+more <= m.shared-m.strangers-more
		}
		if !fits {
			g.refused(h.from, "memory")
			return false
		}
	}
	h.held, m.used = bytes, m.used+more
	if h.trusted {
		return true
	}
	m.strangers += more
	if m.by[address] += more; m.by[address] == 0 {
		delete(m.by, address)
	}
	return true
}

// Release releases all memory of the request.
func (h *Holding) Release() { h.Set(0) }
