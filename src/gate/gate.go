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

// Limits of one address. Each must be positive unless its comment says otherwise.
type Limits struct {
	// Connections is the limit of open connections. ConnectionsPerSecond is the rate of new connections, after a burst
	// of Connections. If the rate is 0, no new connection is rejected: the oldest one of the address is closed instead.
	Connections, ConnectionsPerSecond int
	// Requests is the limit of concurrent requests. RequestsPerSecond is the rate of new requests, after RequestsBurst.
	Requests, RequestsPerSecond, RequestsBurst int
	// AllConnections is the limit of open connections of all addresses together. Beyond it, the oldest connection of
	// the address with the most connections is closed.
	AllConnections int
	// Memory is the limit in bytes of what all requests hold together. ReservedMemory is in addition, for the API
	// server alone. Both are 0 where Hold is not used.
	Memory, ReservedMemory int64
}

// Config configures a Gate. Every field except Known and Free is required.
type Config struct {
	// Port is the name of the port in metrics and logs.
	Port string
	Limits
	// Known reports whether an address is the API server's, which has no limits; nil means that none is.
	Known func(netip.Addr) bool
	// Free reports whether a request is exempt from the limits because it is cheap; nil means that none is.
	Free    func(*http.Request) bool
	Metrics *Metrics
	Clock   func() time.Time
	Log     logr.Logger
}

// Gate tracks the connections, requests and memory of each address. It is safe for concurrent use.
type Gate struct {
	Config
	mu sync.Mutex
	// active are addresses with an open connection or a request; they are never evicted. idle are other addresses, kept
	// for their rates.
	active      map[netip.Addr]*source
	idle        *lru.Cache
	connections int
	memory      memory
	// said is the time of the last log line about a rejection.
	said time.Time
}

// New returns a Gate, or an error if a required field or a limit of the configuration is missing.
func New(c Config) (*Gate, error) {
	l := c.Limits
	if c.Port == "" || c.Metrics == nil || c.Clock == nil || l.ConnectionsPerSecond < 0 ||
		min(l.Connections, l.Requests, l.RequestsPerSecond, l.RequestsBurst, l.AllConnections) <= 0 {
		return nil, errors.New("gate.New: Port, Metrics, Clock or a limit of the Config is missing")
	}
	return &Gate{Config: c, active: map[netip.Addr]*source{}, idle: lru.New(limits.RememberedAddresses),
		memory: memory{shared: l.Memory, reserved: l.ReservedMemory, by: map[netip.Addr]int64{}}}, nil
}

// source is the state of one address. The gate's mutex guards it.
type source struct {
	address  netip.Addr
	requests int
	// open are its connections, the oldest first. Each element is the function that closes the connection.
	open                        *list.List
	newConnections, newRequests *rate.Limiter
}

// key returns the address that limits apply to: the network prefix of an IPv6 address, because a node has all addresses
// of such a network.
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

// sourceOf returns the state of an address, and creates it if there is none. The caller holds mu.
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

// keep moves an address to active or idle, as its state requires. The caller holds mu.
func (g *Gate) keep(s *source) {
	if s.requests+s.open.Len() > 0 {
		g.active[s.address] = s
		g.idle.Remove(s.address)
		return
	}
	delete(g.active, s.address)
	g.idle.Add(s.address, s)
}

// isKnown reports whether an address is the API server's.
func (g *Gate) isKnown(from netip.Addr) bool { return g.Known != nil && g.Known(from) }

// connect admits a connection, or returns false if the address has reached its limit. The caller calls leave when the
// connection ends. end closes the connection; it is called in its own goroutine when another connection takes its
// place.
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

// drop removes a connection from the counts, once. The caller holds mu.
func (g *Gate) drop(s *source, opened *list.Element) {
	if opened.Value == nil {
		return
	}
	s.open.Remove(opened)
	opened.Value = nil
	g.connections--
	g.keep(s)
}

// close closes the oldest connection of an address. The caller holds mu.
func (g *Gate) close(s *source, bound string) {
	oldest := s.open.Front()
	if end, ok := oldest.Value.(func()); ok && end != nil {
		go end() // it calls leave, which locks mu
	}
	g.refused(s.address, bound)
	g.drop(s, oldest)
}

// largest returns the address with the most connections. The caller holds mu.
func (g *Gate) largest() *source {
	var largest *source
	for _, s := range g.active {
		if largest == nil || s.open.Len() > largest.open.Len() {
			largest = s
		}
	}
	return largest
}

// request admits a request, or returns false if the address has reached its limit. The caller calls leave when the
// request ends.
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

// silence is the least time between two log lines about rejections, so that a flood of requests does not flood the log.
const silence = 10 * time.Second

// refused counts a rejection, and logs the address at most once per silence. The caller holds mu.
func (g *Gate) refused(from netip.Addr, what string) {
	g.Metrics.rejected.WithLabelValues(g.Port, what).Inc()
	if now := g.Clock(); now.Sub(g.said) >= silence {
		g.said = now
		g.Log.Info("rejecting an address that exceeds a limit", "port", g.Port, "remoteAddr", from.String(), "limit",
			what)
	}
}
