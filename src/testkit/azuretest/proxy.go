package azuretest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// StartProxy runs a forward proxy until the test ends and returns its URL. The proxy connects every name to the
// emulator. A program with this URL as HTTPS_PROXY and HTTP_PROXY that trusts CA uses the emulator in place of Azure.
func (a *Azure) StartProxy(t *testing.T) string {
	t.Helper()
	metadata := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: a.metadataAddress.String()})
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			a.tunnelToEmulator(w, r)
		case r.URL.Host == "169.254.169.254":
			metadata.ServeHTTP(w, r)
		default:
			http.Error(w, "the proxy connects only to the emulator of Azure", http.StatusBadGateway)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// tunnelToEmulator connects a client with the emulator. It ignores the requested name, because the TLS handshake
// repeats it.
func (a *Azure) tunnelToEmulator(w http.ResponseWriter, r *http.Request) {
	upstream, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", a.azureAddress.String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = upstream.Close() }()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	client, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return
	}
	var group sync.WaitGroup
	group.Go(func() {
		_, _ = io.Copy(upstream, buffered)
		_ = upstream.Close()
	})
	group.Go(func() {
		_, _ = io.Copy(client, upstream)
		_ = client.Close()
	})
	group.Wait()
}
