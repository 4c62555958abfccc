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

// Proxy serves, until the test ends, a forward proxy that leads every name here, and gives its URL. A program that is
// started with it as HTTPS_PROXY and HTTP_PROXY, and trusts CA, takes the emulator for Azure.
func (a *Azure) Proxy(t *testing.T) string {
	t.Helper()
	metadata := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: a.metadata.String()})
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodConnect:
			a.tunnel(w, r)
		case r.URL.Host == "169.254.169.254":
			metadata.ServeHTTP(w, r)
		default:
			http.Error(w, "the emulator serves Azure alone", http.StatusBadGateway)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// tunnel connects a client with the emulator, whatever name it asked for: the name comes again in its TLS handshake.
func (a *Azure) tunnel(w http.ResponseWriter, r *http.Request) {
	upstream, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", a.azure.String())
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
