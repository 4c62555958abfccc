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

// Errors about requests. Only the log shows their texts.
var (
	errPlainHTTP = errors.New("it answers without TLS; if that is intended, add it to the value " +
		"env_injector.registries.plainHTTP")
	errUnsafeRedirect = errors.New("it redirects too often, or to a host that would receive a credential")
)

// TransportConfig configures NewTransport.
type TransportConfig struct {
	// Roots are the trusted certificate authorities.
	Roots *x509.CertPool
	// IsForbidden reports whether a connection to an address is forbidden, besides the addresses that no registry has;
	// nil forbids no others. It is called for each connection, because the addresses of the API server change.
	IsForbidden func(netip.AddrPort) bool
	// ClusterNetworks are the networks of the cluster itself. Connections to them are forbidden unless Allowed contains
	// them.
	ClusterNetworks []netip.Prefix
	// AllowedNetworks are exceptions from the networks that no registry has and from Cluster. A single address is also
	// an exception from Refused.
	AllowedNetworks []netip.Prefix
	// Resolver resolves host names; nil means the resolver of the machine.
	Resolver *net.Resolver
	// PlainHTTP are patterns of hosts without TLS. Plain HTTP to other hosts is rejected, also after a redirect.
	PlainHTTP []string
}

// NewTransport returns a transport for untrusted hosts. It checks the resolved address of each connection, so the check
// also covers redirects, token services, and a name that resolves to another address the second time.
func NewTransport(c TransportConfig) http.RoundTripper {
	dialer := &net.Dialer{Timeout: limits.ImageDialTime, Resolver: c.Resolver,
		ControlContext: func(_ context.Context, _, address string,
			_ syscall.RawConn) error {
			return c.checkDialAddress(address)
		}}
	return &guardedTransport{c, newCircuitBreaker(),
		&http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: limits.ImageDialTime, MaxResponseHeaderBytes: limits.ImageHeaderBytes,
			MaxIdleConns: 50, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
			TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12}}}
}

// checkDialAddress returns errForbiddenAddress if a connection to the address is forbidden.
func (c TransportConfig) checkDialAddress(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errForbiddenAddress
	}
	return c.checkAddress(to)
}

// guardedTransport checks requests before a connection is made, and limits answers.
type guardedTransport struct {
	TransportConfig
	breaker *circuitBreaker
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The body of the answer is already in memory.
func (g *guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t := traceFromContext(r.Context())
	first, hops := firstRequestOf(r)
	if r.URL.Scheme != "https" && !matchesAnyPattern(g.PlainHTTP, r.URL.Host) {
		if hops == 0 && r.URL.Scheme == "http" {
			return nil, errPlainHTTP // the client's fallback after HTTPS failed; that failure is the cause
		}
		return nil, t.recordFailure(errPlainHTTP)
	}
	if err := g.checkRequest(r, first, hops); err != nil {
		return nil, t.recordFailure(err)
	}
	host := strings.ToLower(r.URL.Host)
	if err := g.breaker.checkCallAllowed(host); err != nil {
		return nil, t.recordFailure(err)
	}
	started := time.Now()
	answer, err := g.sendRequest(r, t.contentOf(first))
	g.breaker.recordResult(host, time.Since(started), err == nil || errors.Is(err, errAnswersTooLarge))
	if err != nil {
		return nil, t.recordFailure(err)
	}
	t.recordAnswer(r, answer)
	return answer, nil
}

// checkRequest returns an error for a request that must not be sent, whatever its connection is.
func (g *guardedTransport) checkRequest(r, first *http.Request, hops int) error {
	if hops > limits.ImageRedirects || hops > 0 &&
		(first.Method != http.MethodGet || traceFromContext(r.Context()).contentOf(first) == contentToken) {
		return errUnsafeRedirect
	}
	if isMetadataName(r.URL.Hostname()) {
		return errForbiddenAddress
	}
	// Behind a proxy, the dialer sees the address of the proxy alone.
	if to, err := netip.ParseAddr(strings.Trim(r.URL.Hostname(), "[]")); err == nil {
		return g.checkAddress(netip.AddrPortFrom(to, portOf(r.URL)))
	}
	return nil
}

// sendRequest sends the request and reads the answer, both within limits.ImageAnswerTime.
func (g *guardedTransport) sendRequest(r *http.Request, of contentKind) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), limits.ImageAnswerTime)
	defer cancel()
	answer, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	answer.Request = r // firstRequestOf counts redirects by it
	if err := traceFromContext(r.Context()).bufferAnswer(answer, of); err != nil {
		return nil, err
	}
	return answer, nil
}

// firstRequestOf returns the first request of a chain of redirects, and the number of redirects.
func firstRequestOf(r *http.Request) (*http.Request, int) {
	hops := 0
	for r.Response != nil && r.Response.Request != nil && hops <= limits.ImageRedirects {
		r = r.Response.Request
		hops++
	}
	return r, hops
}

// portOf returns the port of a URL, or the default port of its scheme.
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

// CloseIdleConnections implements the method of the same name that http.Client calls.
func (g *guardedTransport) CloseIdleConnections() {
	if next, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
