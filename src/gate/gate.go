package gate

import (
	"container/list"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Limits are what one address may have. Each must be positive unless it says otherwise.
type Limits struct {
	// Connections that are open at once, and how many new ones in a second, after a burst of as many as may be open.
	// Without a rate (0), new connections are never refused: the oldest one of the address is closed instead.
	Connections, ConnectionsPerSecond int
	// Requests that are worked on at once, and how many new ones in a second, after a burst.
	Requests, RequestsPerSecond, RequestsBurst int
	// AllConnections are those of all addresses together. Beyond it, the oldest one of the address that has most is
	// closed.
	AllConnections int
	// Memory is what the requests of all addresses together may hold, and ReservedMemory what the API server may hold
	// on top of it. Both are 0 where nothing is counted by Hold.
	Memory, ReservedMemory int64
}

// Config is what a Gate works with; every field but Known and Free is required.
type Config struct {
	// Port names what is served, for metrics and logs.
	Port string
	Limits
	// Known says whether an address is the API server's own, which is not bounded; nil knows none.
	Known func(netip.Addr) bool
	// Free says whether a request costs so little that it is always answered; nil means none.
	Free    func(*http.Request) bool
	Metrics *Metrics
	Clock   func() time.Time
	Log     logr.Logger
}

// Gate knows what each address has.
type Gate struct {
	Config
	mu sync.Mutex
	// active are addresses that have something now; they are never forgotten. idle are others whose rates are
	// remembered.
	active      map[netip.Addr]*source
	idle        *lru.Cache
	connections int
	memory      memory
	said        time.Time
}

// New checks the configuration.
func New(c Config) (*Gate, error) {
	l := c.Limits
	if c.Port == "" || c.Metrics == nil || c.Clock == nil || l.ConnectionsPerSecond < 0 ||
		min(l.Connections, l.Requests, l.RequestsPerSecond, l.RequestsBurst, l.AllConnections) <= 0 {
		return nil, errors.New("creating the gate: the port, the metrics, the clock, or a limit is missing")
	}
	return &Gate{Config: c, active: map[netip.Addr]*source{}, idle: lru.New(limits.RememberedAddresses),
		memory: memory{shared: l.Memory, reserved: l.ReservedMemory, by: map[netip.Addr]int64{}}}, nil
}

// source is what one address has. It is guarded by the gate.
type source struct {
	address  netip.Addr
	requests int
	// open are its connections, the oldest first. Each is the function that closes it.
	open                        *list.List
	newConnections, newRequests *rate.Limiter
}

// key is the address as limits count it: all addresses of an IPv6 network of a node are one.
func key(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !address.Is6() {
		return address
	}
	prefix, err := address.Prefix(limits.AddressPrefixBits)
	if err != nil {
		return address
	}
	return prefix.Addr()
}

// sourceOf finds an address, or begins to remember it. The gate is locked.
func (g *Gate) sourceOf(from netip.Addr) *source {
	address := key(from)
	if s, ok := g.active[address]; ok {
		return s
	}
	if known, ok := g.idle.Get(address); ok {
		return known.(*source)
	}
	s := &source{address: address, open: list.New(),
		newRequests: rate.NewLimiter(rate.Limit(g.RequestsPerSecond), g.RequestsBurst)}
	if g.ConnectionsPerSecond > 0 {
		s.newConnections = rate.NewLimiter(rate.Limit(g.ConnectionsPerSecond), g.Connections)
	}
	g.idle.Add(address, s)
	return s
}

// keep moves a source between those that are active and those that are idle. The gate is locked.
func (g *Gate) keep(s *source) {
	if s.requests+s.open.Len() > 0 {
		g.active[s.address] = s
		g.idle.Remove(s.address)
		return
	}
	delete(g.active, s.address)
	g.idle.Add(s.address, s)
}

// isKnown says whether an address is the API server's.
func (g *Gate) isKnown(from netip.Addr) bool { return g.Known != nil && g.Known(from) }

// connect counts a connection, or says that the address has too many; leave ends it. End is called, without waiting for
// it, if the connection has to make room for another.
func (g *Gate) connect(from netip.Addr, end func()) (leave func(), ok bool) {
	if g.isKnown(from) {
		return func() {}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sourceOf(from)
	evict := s.newConnections == nil
	switch {
	case s.open.Len() >= g.Connections && evict:
		g.close(s, "connections")
	case s.open.Len() >= g.Connections || (!evict && !s.newConnections.AllowN(g.Clock(), 1)):
		g.refused(from, "connections")
		return nil, false
	}
	if g.connections >= g.AllConnections {
		largest := g.largest()
		if !evict && largest.open.Len() <= s.open.Len() {
			g.refused(from, "connections")
			return nil, false
		}
		g.close(largest, "all connections")
	}
	opened := s.open.PushBack(end)
	g.connections++
	g.keep(s)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.drop(s, opened)
	}, true
}

// drop forgets a connection unless it is forgotten already. The gate is locked.
func (g *Gate) drop(s *source, opened *list.Element) {
	if opened.Value == nil {
		return
	}
	s.open.Remove(opened)
	opened.Value = nil
	g.connections--
	g.keep(s)
}

// close ends the oldest connection of an address. The gate is locked.
func (g *Gate) close(s *source, bound string) {
	oldest := s.open.Front()
	if end, ok := oldest.Value.(func()); ok && end != nil {
		go end() // it ends in leave, which locks
	}
	g.refused(s.address, bound)
	g.drop(s, oldest)
}

// largest is the address with the most connections. The gate is locked.
func (g *Gate) largest() *source {
	var largest *source
	for _, s := range g.active {
		if largest == nil || s.open.Len() > largest.open.Len() {
			largest = s
		}
	}
	return largest
}

// request counts a request, or says that the address has too many; leave ends it.
func (g *Gate) request(from netip.Addr) (leave func(), ok bool) {
	if g.isKnown(from) {
		return func() {}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sourceOf(from)
	if s.requests >= g.Requests || !s.newRequests.AllowN(g.Clock(), 1) {
		g.refused(from, "requests")
		return nil, false
	}
	s.requests++
	g.keep(s)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		s.requests--
		g.keep(s)
	}, true
}

// silence is how long nothing more is said of refusals, so that a flood of requests is no flood of lines.
const silence = 10 * time.Second

// refused counts, and says from time to time who it is. The gate is locked.
func (g *Gate) refused(from netip.Addr, what string) {
	g.Metrics.rejected.WithLabelValues(g.Port, what).Inc()
	if now := g.Clock(); now.Sub(g.said) >= silence {
		g.said = now
		g.Log.Info("rejecting an address that exceeds a limit", "port", g.Port, "remoteAddr", from.String(), "limit",
			what)
	}
}
