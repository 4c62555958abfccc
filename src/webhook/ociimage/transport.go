package ociimage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// maxAnswer bounds one answer of a registry; configurations have some kilobytes.
const maxAnswer = 8 << 20

// Timeouts of a connection.
const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 5 * time.Second
)

// TransportConfig is what the transport works with.
type TransportConfig struct {
	// Roots are the certificate authorities to believe.
	Roots *x509.CertPool
	// Refused says where must not be connected to, besides addresses that no registry has; nil refuses nothing more. It is asked each time.
	Refused func(netip.AddrPort) bool
	// Allowed are addresses that may be connected to whatever they are; for tests, and for registries on the node itself.
	Allowed []netip.Addr
	// Resolver finds addresses; nil means the machine's.
	Resolver *net.Resolver
	// PlainHTTP are hosts that have no TLS; elsewhere it is refused, also after a redirect.
	PlainHTTP []string
}

// NewTransport gives a transport for addresses that strangers choose. It looks at the address that is connected to, so names that
// resolve to something else the second time, redirects and token services are covered.
func NewTransport(c TransportConfig) http.RoundTripper {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: c.Resolver, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error { return c.guard(address) }}
	return guarded{c, &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: tlsTimeout,
		ResponseHeaderTimeout: 2 * tlsTimeout, MaxIdleConns: 50, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}}}
}

// guard says whether an address may be connected to.
func (c TransportConfig) guard(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.New(fault.Denied, "no address")
	}
	return c.check(to)
}

// wireServer is where Azure's hosts answer their guests.
func wireServer() netip.Addr { return netip.AddrFrom4([4]byte{168, 63, 129, 16}) }

// nat64 is the prefix under which IPv6 has IPv4's addresses.
func nat64() netip.Prefix { return netip.MustParsePrefix("64:ff9b::/96") }

func (c TransportConfig) check(at netip.AddrPort) error {
	to := at.Addr().WithZone("").Unmap()
	if nat64().Contains(to) {
		bytes := to.As16()
		to = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if slices.Contains(c.Allowed, to) {
		return nil
	}
	if to.IsLoopback() || to.IsLinkLocalUnicast() || to.IsUnspecified() || to.IsMulticast() || to == wireServer() ||
		(c.Refused != nil && c.Refused(netip.AddrPortFrom(to, at.Port()))) {
		return fault.New(fault.Denied, "the address is one that no registry may have: of this machine, of a metadata service, or of the API server")
	}
	return nil
}

// guarded refuses what can be seen before a connection is made, and bounds answers.
type guarded struct {
	TransportConfig
	next *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !matches(g.PlainHTTP, r.URL.Host) {
		return nil, fault.New(fault.Denied, "it answers without TLS; if that is meant, add it to the value env_injector.registries.plainHTTP")
	}
	// Behind a proxy the address that is connected to is the proxy's.
	if to, err := netip.ParseAddr(strings.Trim(r.URL.Hostname(), "[]")); err == nil {
		if err := g.check(netip.AddrPortFrom(to, portOf(r.URL))); err != nil {
			return nil, err
		}
	}
	response, err := g.next.RoundTrip(r)
	if err == nil {
		response.Body = &bounded{ReadCloser: response.Body, left: maxAnswer}
	}
	return response, err
}

// portOf is the port that a URL leads to.
func portOf(u *url.URL) uint16 {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err == nil:
		return uint16(port)
	case u.Scheme == "http":
		return 80
	}
	return 443
}

// CloseIdleConnections is what http.Client looks for.
func (g guarded) CloseIdleConnections() { g.next.CloseIdleConnections() }

// bounded is a body that ends with an error if it is too long.
type bounded struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the answer is too long")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// matches says whether a host is one of the patterns, in which * stands for any part of a name.
func matches(patterns []string, host string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
		return err == nil && ok
	})
}

// CheckPatterns says which pattern is none.
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, "x"); err != nil {
			return fmt.Errorf("%q is no pattern of a host; use * for any part of a name", pattern)
		}
	}
	return nil
}
