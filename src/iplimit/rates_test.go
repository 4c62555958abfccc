package iplimit_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
)

func TestARateHoldsForWhatComesOneAfterTheOther(t *testing.T) {
	for name, c := range map[string]struct {
		try             func(*iplimit.Limiter, netip.Addr) (func(), bool)
		burst, inSecond int
	}{
		"requests":    {iplimit.AdmitRequest, 5, 2},
		"connections": {iplimit.AdmitConnection, 4, 3},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			g := newGate(t, func(config *iplimit.Config) {
				config.Limits = iplimit.Limits{Connections: 4, ConnectionsPerSecond: 3, Requests: 100, RequestsPerSecond: 2, RequestsBurst: 5, TotalConnections: 100}
				config.Clock = func() time.Time { return now }
			})
			from, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
			count := func() (n int) {
				for range 20 {
					if leave, ok := c.try(g, from); ok {
						leave() // nothing is open when the next one comes
						n++
					}
				}
				return n
			}
			assert.Equal(t, c.burst, count())
			assert.Zero(t, count(), "who has nothing open is remembered all the same")
			_, ok := c.try(g, other)
			assert.True(t, ok, "another address has its own")
			now = now.Add(time.Second)
			assert.Equal(t, c.inSecond, count())
		})
	}
}

func TestWhereConnectionsMakeRoomTheOldestOfTheAddressIsClosed(t *testing.T) {
	g := newGate(t, func(c *iplimit.Config) { c.Connections, c.ConnectionsPerSecond = 2, 0 })
	closed := make(chan int, 10)
	from := netip.MustParseAddr("10.0.0.1")
	var leaves []func()
	for i := range 4 {
		leave, ok := iplimit.AdmitClosableConnection(g, from, func() { closed <- i })
		require.True(t, ok)
		leaves = append(leaves, leave)
	}
	assert.ElementsMatch(t, []int{0, 1}, []int{<-closed, <-closed})
	for _, leave := range leaves {
		leave() // also of those that were closed
		leave()
	}
	assert.Empty(t, closed)
	for range 2 {
		_, ok := iplimit.AdmitConnection(g, from) // one that nothing can close is only forgotten
		require.True(t, ok)
	}
	_, ok := iplimit.AdmitConnection(g, from)
	assert.True(t, ok)
}

func TestOfAFullPortAnAddressTakesNoMoreThanTheLargestHas(t *testing.T) {
	g := newGate(t, func(c *iplimit.Config) { c.Connections, c.TotalConnections = 10, 4 })
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for range 2 {
		for _, from := range []netip.Addr{one, two} {
			_, ok := iplimit.AdmitConnection(g, from)
			require.True(t, ok)
		}
	}
	_, ok := iplimit.AdmitConnection(g, one)
	assert.False(t, ok, "both have two of four: nobody has to make room")
	_, ok = iplimit.AdmitConnection(g, netip.MustParseAddr("10.0.0.3"))
	assert.True(t, ok)
}

func TestTheAPIServerIsCountedNowhere(t *testing.T) {
	known := netip.MustParseAddr("10.0.0.1")
	g := newGate(t, func(c *iplimit.Config) {
		c.Limits = iplimit.Limits{Connections: 1, ConnectionsPerSecond: 1, Requests: 1, RequestsPerSecond: 1, RequestsBurst: 1, TotalConnections: 1}
		c.IsAPIServer = func(from netip.Addr) bool { return from == known }
	})
	for range 50 {
		_, ok := iplimit.AdmitConnection(g, known)
		require.True(t, ok)
		_, ok = iplimit.AdmitRequest(g, known)
		require.True(t, ok)
	}
	assert.Zero(t, iplimit.TrackedAddresses(g))
	_, ok := iplimit.AdmitConnection(g, netip.MustParseAddr("10.0.0.2"))
	assert.True(t, ok, "and takes nothing of what others have")
}

func TestEachFieldOfALimiterIsRequired(t *testing.T) {
	for name, without := range map[string]func(*iplimit.Config){
		"Port": func(c *iplimit.Config) { c.Port = "" }, "Metrics": func(c *iplimit.Config) { c.Metrics = nil }, "Clock": func(c *iplimit.Config) { c.Clock = nil },
		"Limits.Connections": func(c *iplimit.Config) { c.Connections = 0 }, "Limits.ConnectionsPerSecond": func(c *iplimit.Config) { c.ConnectionsPerSecond = -1 },
		"Limits.Requests": func(c *iplimit.Config) { c.Requests = 0 }, "Limits.RequestsPerSecond": func(c *iplimit.Config) { c.RequestsPerSecond = 0 },
		"Limits.RequestsBurst": func(c *iplimit.Config) { c.RequestsBurst = 0 }, "Limits.TotalConnections": func(c *iplimit.Config) { c.TotalConnections = 0 },
	} {
		config := newGate(t, func(*iplimit.Config) {}).Config
		without(&config)
		_, err := iplimit.New(config)
		assert.EqualError(t, err, "iplimit.New: missing or invalid: "+name)
	}
}

func TestWhoShowsACertificateOfTheAPIServersAuthorityHasTheReserve(t *testing.T) {
	g := newGate(t, func(c *iplimit.Config) { c.Memory, c.ReservedMemory = 1000, 500 })
	hold := func(state *tls.ConnectionState) *iplimit.MemoryReservation {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr, r.TLS = "10.0.0.1:1", state
		return g.ReserveMemory(r)
	}
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}, PeerCertificates: []*x509.Certificate{{}}}
	for name, c := range map[string]struct {
		state   *tls.ConnectionState
		trusted bool
	}{
		"no TLS": {nil, false}, "no certificate": {&tls.ConnectionState{}, false}, "a verified one": {verified, true},
		"one that was not verified": {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, false},
	} {
		h := hold(c.state)
		assert.Equal(t, c.trusted, h.IsFromAPIServer(), name)
		assert.Equal(t, c.trusted, h.Resize(1400), name)
		h.Release()
	}
	assert.Zero(t, iplimit.MemoryHolders(g))
	first := hold(nil)
	require.True(t, first.Resize(300))
	assert.Equal(t, 1, iplimit.MemoryHolders(g))
	require.True(t, first.Resize(100), "less is always allowed")
	first.Release()
	assert.Zero(t, iplimit.MemoryHolders(g), "nothing is kept of an address that holds nothing")
}

func TestAServerSaysInItsOwnWordsThatThereIsTooMuch(t *testing.T) {
	b := newBench(t, nil, nil)
	mine, roots := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := newGate(t, func(c *iplimit.Config) { c.RequestsBurst = 1 })
	server := &iplimit.Server{Limiter: g, RequestTimeout: 30 * time.Second, TLS: &tls.Config{Certificates: []tls.Certificate{mine}, MinVersion: tls.VersionTLS13},
		Handler:         http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		TooManyRequests: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }}
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- server.Serve(ctx, listener) }()
	b.address, b.roots = listener.Addr().String(), roots
	client := b.client("127.0.0.1")
	status, _, _ := b.ask(client, "/")
	assert.Equal(t, http.StatusOK, status)
	status, _, after := b.ask(client, "/")
	assert.Equal(t, http.StatusTeapot, status)
	assert.Equal(t, "1", after)
	stop()
	assert.NoError(t, <-done)
}
