package iplimit

import (
	"container/list"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// Limits of one address. Each must be positive unless its comment says otherwise.
type Limits struct {
	// Connections is the limit of open connections. ConnectionsPerSecond is the rate of new connections, after a burst
	// of Connections. If the rate is 0, no new connection is rejected: the oldest one of the address is closed instead.
	Connections, ConnectionsPerSecond int
	// Requests is the limit of concurrent requests. RequestsPerSecond is the rate of new requests, after RequestsBurst.
	Requests, RequestsPerSecond, RequestsBurst int
	// TotalConnections is the limit of open connections of all addresses together. Beyond it, the oldest connection of
	// the address with the most connections is closed.
	TotalConnections int
	// Memory is the limit in bytes of what all requests hold together. ReservedMemory is in addition, for the API
	// server alone. Both are 0 where Hold is not used.
	Memory, ReservedMemory int64
}

// Config configures a Limiter. Every field except Known and Free is required.
type Config struct {
	// Port is the name of the port in metrics and logs.
	Port string
	Limits
	// IsAPIServer reports whether an address is the API server's, which has no limits; nil means that none is.
	IsAPIServer func(netip.Addr) bool
	// IsExempt reports whether a request is exempt from the limits because it is cheap; nil means that none is.
	IsExempt func(*http.Request) bool
	Metrics  *Metrics
	Clock    func() time.Time
	Log      logr.Logger
}

// Limiter tracks the connections, requests and memory of each address. It is safe for concurrent use.
type Limiter struct {
	Config
	mu sync.Mutex
	// activeByAddress are addresses with an open connection or a request; they are never evicted. idle are other
	// addresses, kept for their rates.
	activeByAddress map[netip.Addr]*addressState
	idleByAddress   *lru.Cache
	openConnections int
	memoryUse       memoryUsage
	// lastLogged is the time of the last log line about a rejection.
	lastLogged time.Time
}

// New returns a Limiter, or an error if a required field or a limit of the configuration is missing.
func New(c Config) (*Limiter, error) {
	l := c.Limits
	if err := fault.RequireFields("iplimit.New", map[string]bool{
		"Port": c.Port != "", "Metrics": c.Metrics != nil, "Clock": c.Clock != nil,
		"Limits.ConnectionsPerSecond": l.ConnectionsPerSecond >= 0, "Limits.Connections": l.Connections > 0,
		"Limits.Requests": l.Requests > 0, "Limits.RequestsPerSecond": l.RequestsPerSecond > 0,
		"Limits.RequestsBurst": l.RequestsBurst > 0, "Limits.TotalConnections": l.TotalConnections > 0,
	}); err != nil {
		return nil, err
	}
	return &Limiter{Config: c, activeByAddress: map[netip.Addr]*addressState{},
		idleByAddress: lru.New(limits.RememberedAddresses),
		memoryUse: memoryUsage{shared: l.Memory, reserved: l.ReservedMemory,
			usedByAddress: map[netip.Addr]int64{}}}, nil
}

// addressState is the state of one address. The mutex of the Limiter guards it.
type addressState struct {
	address        netip.Addr
	activeRequests int
	// openConnections are its connections, the oldest first. Each element is the function that closes the connection.
	openConnections             *list.List
	connectionRate, requestRate *rate.Limiter
}

// addressKey returns the address that limits apply to: the network prefix of an IPv6 address, because a node has all
// addresses of such a network.
func addressKey(address netip.Addr) netip.Addr {
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

// stateOf returns the state of an address, and creates it if there is none. The caller holds mu.
func (g *Limiter) stateOf(from netip.Addr) *addressState {
	address := addressKey(from)
	if s, ok := g.activeByAddress[address]; ok {
		return s
	}
	if known, ok := g.idleByAddress.Get(address); ok {
		return known.(*addressState)
	}
	s := &addressState{address: address, openConnections: list.New(),
		requestRate: rate.NewLimiter(rate.Limit(g.RequestsPerSecond), g.RequestsBurst)}
	if g.ConnectionsPerSecond > 0 {
		s.connectionRate = rate.NewLimiter(rate.Limit(g.ConnectionsPerSecond), g.Connections)
	}
	g.idleByAddress.Add(address, s)
	return s
}

// updateActive moves an address to active or idle, as its state requires. The caller holds mu.
func (g *Limiter) updateActive(s *addressState) {
	if s.activeRequests+s.openConnections.Len() > 0 {
		g.activeByAddress[s.address] = s
		g.idleByAddress.Remove(s.address)
		return
	}
	delete(g.activeByAddress, s.address)
	g.idleByAddress.Add(s.address, s)
}

// isFromAPIServer reports whether an address is the API server's.
func (g *Limiter) isFromAPIServer(from netip.Addr) bool {
	return g.IsAPIServer != nil && g.IsAPIServer(from)
}

// admitConnection admits a connection, or returns false if the address has reached its limit. The caller calls leave
// when the connection ends. end closes the connection; it is called in its own goroutine when another connection takes
// its place.
func (g *Limiter) admitConnection(from netip.Addr, end func()) (leave func(), ok bool) {
	if g.isFromAPIServer(from) {
		return func() {}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stateOf(from)
	evict := s.connectionRate == nil
	switch {
	case s.openConnections.Len() >= g.Connections && evict:
		g.closeOldestConnection(s, "connections")
	case s.openConnections.Len() >= g.Connections || (!evict && !s.connectionRate.AllowN(g.Clock(), 1)):
		g.recordRejection(from, "connections")
		return nil, false
	}
	if g.openConnections >= g.TotalConnections {
		largest := g.busiestAddress()
		if !evict && largest.openConnections.Len() <= s.openConnections.Len() {
			g.recordRejection(from, "connections")
			return nil, false
		}
		g.closeOldestConnection(largest, "all connections")
	}
	opened := s.openConnections.PushBack(end)
	g.openConnections++
	g.updateActive(s)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.forgetConnection(s, opened)
	}, true
}

// forgetConnection removes a connection from the counts, once. The caller holds mu.
func (g *Limiter) forgetConnection(s *addressState, opened *list.Element) {
	if opened.Value == nil {
		return
	}
	s.openConnections.Remove(opened)
	opened.Value = nil
	g.openConnections--
	g.updateActive(s)
}

// closeOldestConnection closes the oldest connection of an address. The caller holds mu.
func (g *Limiter) closeOldestConnection(s *addressState, bound string) {
	oldest := s.openConnections.Front()
	if end, ok := oldest.Value.(func()); ok && end != nil {
		go end() // it calls leave, which locks mu
	}
	g.recordRejection(s.address, bound)
	g.forgetConnection(s, oldest)
}

// busiestAddress returns the address with the most connections. The caller holds mu.
func (g *Limiter) busiestAddress() *addressState {
	var largest *addressState
	for _, s := range g.activeByAddress {
		if largest == nil || s.openConnections.Len() > largest.openConnections.Len() {
			largest = s
		}
	}
	return largest
}

// admitRequest admits a request, or returns false if the address has reached its limit. The caller calls leave when the
// request ends.
func (g *Limiter) admitRequest(from netip.Addr) (leave func(), ok bool) {
	if g.isFromAPIServer(from) {
		return func() {}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stateOf(from)
	if s.activeRequests >= g.Requests || !s.requestRate.AllowN(g.Clock(), 1) {
		g.recordRejection(from, "requests")
		return nil, false
	}
	s.activeRequests++
	g.updateActive(s)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		s.activeRequests--
		g.updateActive(s)
	}, true
}

// rejectionLogInterval is the least time between two log lines about rejections, so that a flood of requests does not
// flood the log.
const rejectionLogInterval = 10 * time.Second

// recordRejection counts a rejection, and logs the address at most once per rejectionLogInterval. The caller holds mu.
func (g *Limiter) recordRejection(from netip.Addr, what string) {
	g.Metrics.rejected.WithLabelValues(g.Port, what).Inc()
	if now := g.Clock(); now.Sub(g.lastLogged) >= rejectionLogInterval {
		g.lastLogged = now
		g.Log.Info("rejecting an address that exceeds a limit", logkey.Port, g.Port, logkey.RemoteAddr, from.String(),
			logkey.Limit, what)
	}
}
