package iplimit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Server serves a port through a Limiter. It is a controller-runtime Runnable that needs no leader election: every
// replica serves.
type Server struct {
	// Address to listen on, for example :9443.
	Address string
	Limiter *Limiter
	Handler http.Handler
	// TLS has the certificate to serve with; nil serves plain HTTP.
	TLS *tls.Config
	// RequestTimeout is the time limit of a request, without the time to write the answer.
	RequestTimeout time.Duration
	// TooManyRequests answers a rejected request; nil means status 429 with one sentence.
	TooManyRequests http.HandlerFunc

	isListening atomic.Bool
}

// HealthLimits returns the limits of the port of health checks and metrics. New connections are never rejected there,
// because pods with hostNetwork share the address that probes come from.
func HealthLimits() Limits {
	return Limits{Connections: limits.HealthConnections, Requests: limits.HealthRequests,
		RequestsPerSecond: limits.HealthRequestsPerSecond,
		RequestsBurst:     limits.HealthRequestsBurst, TotalConnections: limits.HealthTotalConnections}
}

// shutdownTimeout is the time that requests in flight have to end after the server is stopped.
const shutdownTimeout = 20 * time.Second

// NeedLeaderElection implements controller-runtime's manager.LeaderElectionRunnable.
func (*Server) NeedLeaderElection() bool { return false }

// CheckListening returns an error until the port is served.
func (s *Server) CheckListening() error {
	if !s.isListening.Load() {
		return fmt.Errorf("%s is not served yet", s.Limiter.Port)
	}
	return nil
}

// Start serves until the context ends, and then waits for the requests in flight.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for %s: %w", s.Limiter.Port, err)
	}
	return s.Serve(ctx, listener)
}

// Serve does the same as Start with an existing listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.limitRequests(), ReadHeaderTimeout: limits.RequestReadTime,
		ReadTimeout:  limits.RequestReadTime,
		WriteTimeout: s.RequestTimeout + limits.AnswerWriteTime, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: limits.RequestHeaderBytes, TLSConfig: s.TLS,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limits.HTTP2Streams,
			MaxReceiveBufferPerConnection: limits.HTTP2ReceiveBytes,
			MaxReceiveBufferPerStream:     limits.HTTP2ReceiveBytes},
		// clients could fill the log
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.Limiter.Log.V(4)), slog.LevelInfo)}
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(done)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		_ = server.Shutdown(ending)
	})()
	s.isListening.Store(true)
	serve := server.Serve
	if s.TLS != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if err := serve(limitedListener{listener, s.Limiter}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", s.Limiter.Port, err)
	}
	<-done
	return nil
}

// hasCertificate reports whether the client has presented a verified certificate. Only the API server's is verified.
func hasCertificate(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// remoteAddress returns the client address. Requests without one, such as those of tests, share the zero address.
func remoteAddress(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap()
}

// limitRequests wraps the handler with the limits of requests.
func (s *Server) limitRequests() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasCertificate(r) || (s.Limiter.IsExempt != nil && s.Limiter.IsExempt(r)) {
			s.Handler.ServeHTTP(w, r)
			return
		}
		leave, ok := s.Limiter.admitRequest(remoteAddress(r))
		if !ok {
			s.rejectRequest(w, r)
			return
		}
		defer leave()
		s.Handler.ServeHTTP(w, r)
	})
}

// rejectRequest answers a rejected request with Retry-After: 1. The API server retries ten times before it rejects a
// pod.
func (s *Server) rejectRequest(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	if s.TooManyRequests != nil {
		s.TooManyRequests(w, r)
		return
	}
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, "akv2k8s: too many requests from this address; retry in a second\n")
}

// limitedListener closes connections beyond the limit before anything is read or computed for them.
type limitedListener struct {
	net.Listener
	limiter *Limiter
}

// Accept implements net.Listener.
func (c limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // a TCP address always parses
		leave, ok := c.limiter.admitConnection(from.Addr().Unmap(), func() { _ = conn.Close() })
		if ok {
			return &limitedConnection{Conn: conn, release: sync.OnceFunc(leave)}, nil
		}
		_ = conn.Close()
	}
}

// limitedConnection releases its place in the counts when it is closed.
type limitedConnection struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConnection) Close() error {
	defer c.release()
	return c.Conn.Close()
}
