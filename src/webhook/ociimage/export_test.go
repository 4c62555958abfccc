package ociimage

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// RedirectPort makes a transport of NewTransport connect to another port in place of a port, so that a test can serve
// a privileged port without root. Everything else, with the check of the address, stays.
func RedirectPort(t *testing.T, transport http.RoundTripper, from, to string) {
	t.Helper()
	inner := transport.(*guardedTransport).next.(*http.Transport)
	dial := inner.DialContext
	inner.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, err := net.SplitHostPort(address); err == nil && port == from {
			address = net.JoinHostPort(host, to)
		}
		return dial(ctx, network, address)
	}
}
