package iplimit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
)

// Addresses of this machine, from which clients of the tests connect.
const hostile, other = "127.0.0.2", "127.0.0.3"

// bench is a served gate. It has a real clock only where a test waits for it.
type bench struct {
	*testing.T
	mu       sync.Mutex
	now      time.Time
	log      []string
	registry *prometheus.Registry
	address  string
	roots    *x509.CertPool
	mine     tls.Certificate
	// hold keeps requests for /hold waiting until it is closed.
	hold chan struct{}
	stop context.CancelFunc
	done chan error
}

func limits() iplimit.Limits {
	return iplimit.Limits{Connections: 10, ConnectionsPerSecond: 5, Requests: 4, RequestsPerSecond: 10, RequestsBurst: 20, TotalConnections: 100}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func newBench(t *testing.T, clock func() time.Time, known func(netip.Addr) bool) *bench {
	t.Helper()
	b := &bench{T: t, now: time.Now(), registry: prometheus.NewRegistry(), hold: make(chan struct{}), done: make(chan error, 1)}
	b.mine, b.roots = certificate(t)
	metrics, err := iplimit.NewMetrics(b.registry)
	require.NoError(t, err)
	if clock == nil {
		clock = func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.now
		}
	}
	g, err := iplimit.New(iplimit.Config{Port: "webhook", Limits: limits(), IsAPIServer: known, Metrics: metrics, Clock: clock, Log: funcr.New(func(_, args string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.log = append(b.log, args)
	}, funcr.Options{})})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.address = listener.Addr().String()
	server := &iplimit.Server{Limiter: g, RequestTimeout: 30 * time.Second, TLS: &tls.Config{Certificates: []tls.Certificate{b.mine}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: b.roots, MinVersion: tls.VersionTLS13},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				<-b.hold
			}
			_, _ = io.WriteString(w, "answered")
		})}
	require.Error(t, server.CheckListening())
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() { b.done <- server.Serve(ctx, listener) }()
	t.Cleanup(stop)
	require.Eventually(t, func() bool { return server.CheckListening() == nil }, 5*time.Second, time.Millisecond)
	return b
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// client connects from an address of this machine.
func (b *bench) client(from string, show ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.roots, Certificates: show, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext}
	b.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask returns the status, the body and the Retry-After header. The status of a closed connection is 0.
func (b *bench) ask(c *http.Client, path string) (status int, body, after string) {
	response, err := c.Get("https://" + b.address + path)
	if err != nil {
		return 0, err.Error(), ""
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	assert.NoError(b, err)
	return response.StatusCode, string(content), response.Header.Get("Retry-After")
}

func (b *bench) counted(bound string, times int) {
	b.Helper()
	want := fmt.Sprintf("# HELP akv2k8s_requests_rejected_total Connections and requests that were rejected because an address exceeded a limit, by port and limit.\n"+
		"# TYPE akv2k8s_requests_rejected_total counter\nakv2k8s_requests_rejected_total{limit=%q,port=\"webhook\"} %d\n", bound, times)
	assert.NoError(b, testutil.GatherAndCompare(b.registry, strings.NewReader(want)))
}

func TestAnAddressThatFloodsThePortKeepsNobodyElseFromBeingAnswered(t *testing.T) {
	b := newBench(t, nil, nil)
	flood, quiet := b.client(hostile), b.client(other)
	codes := map[int]int{}
	for range 100 {
		status, body, after := b.ask(flood, "/")
		codes[status]++
		if status == http.StatusTooManyRequests {
			assert.Equal(t, "akv2k8s: too many requests from this address; retry in a second\n", body)
			assert.Equal(t, "1", after)
		}
	}
	assert.Equal(t, map[int]int{200: 20, 429: 80}, codes)
	for range 20 {
		status, _, _ := b.ask(quiet, "/")
		assert.Equal(t, http.StatusOK, status)
	}
	b.counted("requests", 80)
	require.Len(t, b.log, 1, "a flood of requests is no flood of lines")
	assert.Contains(t, b.log[0], hostile, "and the administrator learns who it is")
	b.pass(time.Second)
	status, _, _ := b.ask(flood, "/")
	assert.Equal(t, http.StatusOK, status, "it may ask again later")
}

// TestTheAPIServersOwnClientComesBackByItself uses the client with which the API server calls webhooks.
func TestTheAPIServersOwnClientComesBackByItself(t *testing.T) {
	b := newBench(t, time.Now, nil)
	config := &rest.Config{Host: "https://" + b.address, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		ContentConfig: rest.ContentConfig{NegotiatedSerializer: scheme.Codecs.WithoutConversion()}}
	client, err := rest.UnversionedRESTClientFor(config)
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10 {
				content, err := client.Post().AbsPath("/pods").Body([]byte("{}")).Do(t.Context()).Raw()
				assert.NoError(t, err)
				assert.Equal(t, "answered", string(content))
			}
		})
	}
	group.Wait()
	refused, err := testutil.GatherAndCount(b.registry)
	require.NoError(t, err)
	assert.Positive(t, refused, "40 at once are more than the 20 that are taken without a pause")
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	b := newBench(t, nil, nil)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(hostile)}}
	// open reports whether the connection is kept: an open one sends nothing until a deadline.
	open := func() (net.Conn, bool) {
		conn, err := dialer.Dial("tcp", b.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err)
		return conn, errors.Is(err, os.ErrDeadlineExceeded)
	}
	var kept []net.Conn
	for range 15 {
		if conn, ok := open(); ok {
			kept = append(kept, conn)
		}
	}
	require.Len(t, kept, 10)
	b.counted("connections", 5)
	status, _, _ := b.ask(b.client(other), "/")
	assert.Equal(t, http.StatusOK, status)
	b.pass(time.Second)
	_, ok := open()
	assert.False(t, ok, "as long as they are open")
	for _, conn := range kept {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool { _, ok := open(); return ok }, 5*time.Second, 50*time.Millisecond, "and then again")
	for range 10 { // five a second, however short they are
		conn, _ := open()
		_ = conn.Close()
	}
	_, ok = open()
	assert.False(t, ok)
}

func TestRequestsOfOneAddressThatAreWorkedOnAreBounded(t *testing.T) {
	b := newBench(t, nil, nil)
	slow := b.client(hostile)
	answers := make(chan int, 10)
	for range 10 {
		go func() {
			status, _, _ := b.ask(slow, "/hold")
			answers <- status
		}()
	}
	for range 6 {
		assert.Equal(t, http.StatusTooManyRequests, <-answers)
	}
	status, _, _ := b.ask(b.client(other), "/")
	assert.Equal(t, http.StatusOK, status)
	// The end of the context lets these requests end.
	b.stop()
	time.Sleep(100 * time.Millisecond)
	close(b.hold)
	for range 4 {
		assert.Equal(t, http.StatusOK, <-answers)
	}
	assert.NoError(t, <-b.done)
}

func TestTheAPIServerIsNotBoundedWhereItIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		known func(netip.Addr) bool
		show  bool
	}{
		"by its address":     {func(a netip.Addr) bool { return a == netip.MustParseAddr(hostile) }, false},
		"by its certificate": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, c.known)
			var show []tls.Certificate
			if c.show {
				show = append(show, b.mine)
			}
			client := b.client(hostile, show...)
			for range 100 {
				status, _, _ := b.ask(client, "/")
				require.Equal(t, http.StatusOK, status)
			}
		})
	}
}

func TestHalfAConfigurationIsRefused(t *testing.T) {
	metrics, err := iplimit.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	for _, c := range []iplimit.Config{{}, {Port: "webhook", Limits: limits(), Metrics: metrics}, {Port: "webhook", Metrics: metrics, Clock: time.Now}} {
		_, err := iplimit.New(c)
		assert.Error(t, err)
	}
	registry := prometheus.NewRegistry()
	_, err = iplimit.NewMetrics(registry)
	require.NoError(t, err)
	_, err = iplimit.NewMetrics(registry)
	require.Error(t, err)
}
