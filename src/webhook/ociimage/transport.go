package ociimage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Errors about requests. Their texts are for the log.
var (
	errPlainHTTP = errors.New("it answers without TLS; if that is intended, add it to the value " +
		"env_injector.registries.plainHTTP")
	errRedirect = errors.New("it redirects too often, or where a credential would go along")
)

// TransportConfig is what the transport works with.
type TransportConfig struct {
	// Roots are the certificate authorities to believe.
	Roots *x509.CertPool
	// Refused says where must not be connected to, besides addresses that no registry has; nil refuses nothing more. It
	// is asked each time.
	Refused func(netip.AddrPort) bool
	// Cluster are networks and addresses of the cluster itself, which no registry may have unless Allowed says so.
	Cluster []netip.Prefix
	// Allowed are networks that may be connected to although registries usually do not have them. A single address is
	// allowed even where Refused says otherwise.
	Allowed []netip.Prefix
	// Resolver finds addresses; nil means the machine's.
	Resolver *net.Resolver
	// PlainHTTP are hosts that have no TLS; elsewhere it is refused, also after a redirect.
	PlainHTTP []string
}

// NewTransport gives a transport for addresses that strangers choose. It checks the address that is connected to, so
// names that resolve to something else the second time, redirects and token services are covered.
func NewTransport(c TransportConfig) http.RoundTripper {
	dialer := &net.Dialer{Timeout: limits.ImageDialTime, Resolver: c.Resolver,
		ControlContext: func(_ context.Context, _, address string,
			_ syscall.RawConn) error {
			return c.checkDial(address)
		}}
	return &guarded{c, newBreaker(), &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: limits.ImageDialTime, MaxResponseHeaderBytes: limits.ImageHeaderBytes,
		MaxIdleConns: 50, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}}}
}

// checkDial refuses the address that is about to be connected to.
func (c TransportConfig) checkDial(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	return c.checkAddress(to)
}

// guarded refuses what can be seen before a connection is made, and bounds answers.
type guarded struct {
	TransportConfig
	breaker *breaker
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The answer's body is in memory already.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	t := traceOf(r.Context())
	first, hops := originOf(r)
	if r.URL.Scheme != "https" && !matches(g.PlainHTTP, r.URL.Host) {
		if hops == 0 && r.URL.Scheme == "http" {
			return nil, errPlainHTTP // the client's own attempt after HTTPS failed; that failure is the cause
		}
		return nil, t.fail(errPlainHTTP)
	}
	if err := g.checkRequest(r, first, hops); err != nil {
		return nil, t.fail(err)
	}
	host := strings.ToLower(r.URL.Host)
	if err := g.breaker.allow(host); err != nil {
		return nil, t.fail(err)
	}
	started := time.Now()
	answer, err := g.call(r, t.contentOf(first))
	g.breaker.record(host, time.Since(started), err == nil)
	if err != nil {
		return nil, t.fail(err)
	}
	t.notice(r, answer)
	return answer, nil
}

// checkRequest refuses requests that must not be sent, whatever the connection would be.
func (g *guarded) checkRequest(r, first *http.Request, hops int) error {
	if hops > limits.ImageRedirects || hops > 0 &&
		(first.Method != http.MethodGet || traceOf(r.Context()).contentOf(first) == token) {
		return errRedirect
	}
	if isMetadataName(r.URL.Hostname()) {
		return errAddress
	}
	// Behind a proxy the address that is connected to is the proxy's.
	if to, err := netip.ParseAddr(strings.Trim(r.URL.Hostname(), "[]")); err == nil {
		return g.checkAddress(netip.AddrPortFrom(to, portOf(r.URL)))
	}
	return nil
}

// call sends the request and reads the answer, within the time for both.
func (g *guarded) call(r *http.Request, of content) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.ImageAnswerTime)
	defer cancel()
	answer, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	answer.Request = r // redirects are counted by it
	if err := readAnswer(answer, of); err != nil {
		return nil, err
	}
	return answer, nil
}

// originOf is the request that redirects led from to this one, and their number.
func originOf(r *http.Request) (*http.Request, int) {
	hops := 0
	for r.Response != nil && r.Response.Request != nil && hops <= limits.ImageRedirects {
		r = r.Response.Request
		hops++
	}
	return r, hops
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

// CloseIdleConnections is what http.Client calls.
func (g *guarded) CloseIdleConnections() {
	if next, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
