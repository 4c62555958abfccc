package iplimit_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
)

// newGate is a gate whose clock stands still.
func newGate(t *testing.T, change func(*iplimit.Config)) *iplimit.Limiter {
	t.Helper()
	metrics, err := iplimit.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	now := time.Now()
	config := iplimit.Config{Port: "webhook", Limits: limits(), Metrics: metrics, Clock: func() time.Time { return now }}
	change(&config)
	g, err := iplimit.New(config)
	require.NoError(t, err)
	return g
}

func TestAddressesOfOneIPv6NetworkShareTheirLimits(t *testing.T) {
	g := newGate(t, func(*iplimit.Config) {})
	address, kept := netip.MustParseAddr("fd00::"), 0
	for range 1000 {
		address = address.Next()
		if _, ok := iplimit.AdmitConnection(g, address); ok {
			kept++
		}
	}
	assert.Equal(t, limits().Connections, kept, "a /64 has as many connections as one address")
	assert.Equal(t, 1, iplimit.TrackedAddresses(g))
	_, ok := iplimit.AdmitConnection(g, netip.MustParseAddr("fd00:0:0:1::1"))
	assert.True(t, ok, "another network has its own")
	for _, ipv4 := range []string{"10.0.0.1", "::ffff:10.0.0.2"} {
		_, ok := iplimit.AdmitConnection(g, netip.MustParseAddr(ipv4))
		assert.True(t, ok, "IPv4 addresses are counted one by one")
	}
	assert.Equal(t, 4, iplimit.TrackedAddresses(g))
}

func TestManyAddressesCannotExhaustTheMemoryNorResetALimit(t *testing.T) {
	g := newGate(t, func(*iplimit.Config) {})
	hostile := netip.MustParseAddr("10.0.0.1")
	for range limits().Connections {
		_, ok := iplimit.AdmitConnection(g, hostile)
		require.True(t, ok)
	}
	address := netip.MustParseAddr("10.1.0.0")
	for range 10_000 {
		address = address.Next()
		leave, ok := iplimit.AdmitConnection(g, address)
		require.True(t, ok)
		leave()
	}
	assert.Equal(t, 4097, iplimit.TrackedAddresses(g))
	_, ok := iplimit.AdmitConnection(g, hostile)
	assert.False(t, ok, "an address with open connections is not forgotten, however many others come")
}

func TestTheAddressWithMostConnectionsMakesRoomForOthers(t *testing.T) {
	g := newGate(t, func(c *iplimit.Config) { c.TotalConnections = 15 })
	closed := make(chan int, 20)
	for i := range 10 {
		_, ok := iplimit.AdmitClosableConnection(g, netip.MustParseAddr("10.0.0.1"), func() { closed <- i })
		require.True(t, ok)
	}
	for i := range 10 {
		_, ok := iplimit.AdmitClosableConnection(g, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), func() { closed <- -1 })
		require.True(t, ok, "an address that has nothing is let in")
	}
	got := map[int]bool{}
	for range 5 {
		got[<-closed] = true
	}
	assert.Equal(t, map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true}, got, "the oldest of the address that has most are closed")
}

// TestAFloodFromTheKubeletsAddressDoesNotKeepAProbeFromBeingAnswered uses a port that closes the oldest connection
// instead of rejecting new ones.
func TestAFloodFromTheKubeletsAddressDoesNotKeepAProbeFromBeingAnswered(t *testing.T) {
	g := newGate(t, func(c *iplimit.Config) {
		c.ConnectionsPerSecond, c.TotalConnections = 0, 20
		c.IsExempt = func(r *http.Request) bool { return r.URL.Path == "/healthz" }
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &iplimit.Server{Limiter: g, RequestTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	go func() { _ = server.Serve(t.Context(), listener) }()
	dial := func(from string) {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
	}
	get := func(from, path string) int {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}}
		response, err := client.Get("http://" + listener.Addr().String() + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	for range 60 {
		dial(hostile)
		assert.Equal(t, http.StatusNoContent, get(hostile, "/healthz"), "of the same address, as a pod with hostNetwork has it")
		assert.Equal(t, http.StatusNoContent, get(other, "/healthz"))
	}
	codes := map[int]int{}
	for range 60 {
		codes[get(hostile, "/metrics")]++
	}
	assert.Equal(t, map[int]int{http.StatusNoContent: 20, http.StatusTooManyRequests: 40}, codes, "what costs more has a limit")
	assert.Equal(t, http.StatusNoContent, get(other, "/metrics"), "of one address")
	for i := range 60 { // of more addresses than the limit
		for j := range 5 {
			dial(net.IPv4(127, 0, 1, byte(i*3+j)).String())
		}
		assert.Equal(t, http.StatusNoContent, get(other, "/healthz"))
	}
}

func TestMemoryIsSharedAndTheAPIServerHasAReserve(t *testing.T) {
	api := netip.MustParseAddr("10.0.0.9")
	g := newGate(t, func(c *iplimit.Config) {
		c.Memory, c.ReservedMemory = 1000, 500
		c.IsAPIServer = func(a netip.Addr) bool { return a == api }
	})
	hold := func(from string) *iplimit.MemoryReservation {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr = net.JoinHostPort(from, "1")
		return g.ReserveMemory(r)
	}
	first := hold("10.0.0.1")
	assert.True(t, first.Resize(500))
	assert.False(t, first.Resize(501), "one address gets no more than it leaves")
	assert.False(t, hold("10.0.0.1").Resize(1), "however many requests it has")
	second := hold("10.0.0.2")
	assert.True(t, second.Resize(250), "half of what is left")
	assert.False(t, second.Resize(251))
	assert.True(t, hold("fd00::1").Resize(125))
	assert.False(t, hold("fd00::2").Resize(1), "a /64 is one address")
	reserved := hold("10.0.0.9")
	assert.True(t, reserved.IsFromAPIServer())
	assert.False(t, first.IsFromAPIServer())
	assert.True(t, reserved.Resize(625), "the API server has all that is left, and the reserve")
	assert.False(t, hold("10.0.0.9").Resize(1))
	first.Release()
	assert.True(t, first.Resize(300), "what was released can be held again")
	first.Release()
	first.Release()
	assert.True(t, hold("10.0.0.3").Resize(300))
}
