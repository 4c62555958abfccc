package gate

import (
	"net/http"
	"net/netip"
)

// memory counts what requests hold, in bytes. It is guarded by the gate.
type memory struct {
	shared, reserved int64
	// used is what all hold, strangers what those hold that are not known as the API server, and by what each of these
	// addresses holds.
	used, strangers int64
	by              map[netip.Addr]int64
}

// Holding is the memory that one request holds.
type Holding struct {
	gate    *Gate
	from    netip.Addr
	trusted bool
	held    int64
}

// Hold begins to count the memory of a request; Release must be called at its end.
func (g *Gate) Hold(r *http.Request) *Holding {
	from := addressOf(r)
	return &Holding{gate: g, from: from, trusted: hasCertificate(r) || g.isKnown(from)}
}

// Trusted says whether the request is the API server's.
func (h *Holding) Trusted() bool { return h.trusted }

// Set changes what the request holds. It says false, and changes nothing, if there is not so much left: one address
// gets no more than what it would leave free for the others, and what is reserved is for the API server alone.
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

// Release gives back everything that the request holds.
func (h *Holding) Release() { h.Set(0) }
