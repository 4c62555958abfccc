package gate

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

// Limits are what one address may have. Each must be positive.
type Limits struct {
	// Connections that are open at once, and how many new ones in a second, after a burst of as many as may be open.
	Connections, ConnectionsPerSecond int
	// Requests that are worked on at once, and how many new ones in a second, after a burst.
	Requests, RequestsPerSecond, RequestsBurst int
}

// Config is what a Gate works with; every field but Known is required.
type Config struct {
	// Port names what is served, for metrics and logs.
	Port string
	Limits
	// Known says whether an address is the API server's own, which is not bounded; nil knows none.
	Known   func(netip.Addr) bool
	Metrics *Metrics
	Clock   func() time.Time
	Log     logr.Logger
}

// addresses bounds how many are remembered. Whoever has more of them than that has none of these bounds.
const addresses = 4096

// Gate knows what each address has.
type Gate struct {
	Config
	mu      sync.Mutex
	sources *lru.Cache
	said    time.Time
}

// New checks the configuration.
func New(c Config) (*Gate, error) {
	l := c.Limits
	if c.Port == "" || c.Metrics == nil || c.Clock == nil || min(l.Connections, l.ConnectionsPerSecond, l.Requests, l.RequestsPerSecond, l.RequestsBurst) <= 0 {
		return nil, errors.New("creating the gate: a part of its configuration is missing")
	}
	return &Gate{Config: c, sources: lru.New(addresses)}, nil
}

// source is what one address has. Its numbers are guarded by the gate.
type source struct {
	connections, requests       int
	newConnections, newRequests *rate.Limiter
}

// of finds an address, or begins to remember it. The gate is locked.
func (g *Gate) of(address netip.Addr) *source {
	if known, ok := g.sources.Get(address); ok {
		return known.(*source)
	}
	s := &source{newConnections: rate.NewLimiter(rate.Limit(g.ConnectionsPerSecond), g.Connections), newRequests: rate.NewLimiter(rate.Limit(g.RequestsPerSecond), g.RequestsBurst)}
	g.sources.Add(address, s)
	return s
}

// connect counts a connection, or says that the address has too many; what it gives ends it.
func (g *Gate) connect(from netip.Addr) (leave func(), ok bool) {
	return g.enter(from, func(s *source) (*int, *rate.Limiter, int) { return &s.connections, s.newConnections, g.Connections }, "connections")
}

// request does the same for a request.
func (g *Gate) request(from netip.Addr) (leave func(), ok bool) {
	return g.enter(from, func(s *source) (*int, *rate.Limiter, int) { return &s.requests, s.newRequests, g.Requests }, "requests")
}

func (g *Gate) enter(from netip.Addr, of func(*source) (*int, *rate.Limiter, int), what string) (leave func(), ok bool) {
	if g.Known != nil && g.Known(from) {
		return func() {}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	count, limiter, most := of(g.of(from))
	if *count >= most || !limiter.AllowN(g.Clock(), 1) {
		g.refused(from, what)
		return nil, false
	}
	*count++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		*count--
	}, true
}

// silence is how long nothing more is said of refusals, so that a flood of requests is no flood of lines.
const silence = 10 * time.Second

// refused counts, and says from time to time who it is. The gate is locked.
func (g *Gate) refused(from netip.Addr, what string) {
	g.Metrics.refused.WithLabelValues(g.Port, what).Inc()
	if now := g.Clock(); now.Sub(g.said) >= silence {
		g.said = now
		g.Log.Info("refusing an address that asks too much", "port", g.Port, "address", from.String(), "bound", what)
	}
}
