package gate

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

// Server serves a port through a Gate. It is a controller-runtime Runnable that needs no leader election: every replica
// serves.
type Server struct {
	// Address to listen on, for example :9443.
	Address string
	Gate    *Gate
	Handler http.Handler
	// TLS has the certificate to serve with; nil serves plain HTTP.
	TLS *tls.Config
	// Patience is the time limit of a request, without the time to write the answer.
	Patience time.Duration
	// TooMuch answers a rejected request; nil means status 429 with one sentence.
	TooMuch http.HandlerFunc

	listens atomic.Bool
}

// HealthLimits returns the limits of the port of health checks and metrics. New connections are never rejected there,
// because pods with hostNetwork share the address that probes come from.
func HealthLimits() Limits {
	return Limits{Connections: limits.HealthConnections, Requests: limits.HealthRequests,
		RequestsPerSecond: limits.HealthRequestsPerSecond,
		RequestsBurst:     limits.HealthRequestsBurst, AllConnections: limits.HealthAllConnections}
}

// drain is the time that requests in flight have to end after the server is stopped.
const drain = 20 * time.Second

// NeedLeaderElection implements controller-runtime's manager.LeaderElectionRunnable.
func (*Server) NeedLeaderElection() bool { return false }

// Listening returns an error until the port is served.
func (s *Server) Listening() error {
	if !s.listens.Load() {
		return fmt.Errorf("%s is not served yet", s.Gate.Port)
	}
	return nil
}

// Start serves until the context ends, and then waits for the requests in flight.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for %s: %w", s.Gate.Port, err)
	}
	return s.Serve(ctx, listener)
}

// Serve does the same as Start with an existing listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.bounded(), ReadHeaderTimeout: limits.RequestReadTime,
		ReadTimeout:  limits.RequestReadTime,
		WriteTimeout: s.Patience + limits.AnswerWriteTime, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: limits.RequestHeaderBytes, TLSConfig: s.TLS,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limits.HTTP2Streams,
			MaxReceiveBufferPerConnection: limits.HTTP2ReceiveBytes,
			MaxReceiveBufferPerStream:     limits.HTTP2ReceiveBytes},
		// clients could fill the log
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.Gate.Log.V(4)), slog.LevelInfo)}
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(done)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		_ = server.Shutdown(ending)
	})()
	s.listens.Store(true)
	serve := server.Serve
	if s.TLS != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if err := serve(counted{listener, s.Gate}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", s.Gate.Port, err)
	}
	<-done
	return nil
}

// hasCertificate reports whether the client has presented a verified certificate. Only the API server's is verified.
func hasCertificate(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// addressOf returns the client address. Requests without one, such as those of tests, share the zero address.
func addressOf(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap()
}

// bounded wraps the handler with the limits of requests.
func (s *Server) bounded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasCertificate(r) || (s.Gate.Free != nil && s.Gate.Free(r)) {
			s.Handler.ServeHTTP(w, r)
			return
		}
		leave, ok := s.Gate.request(addressOf(r))
		if !ok {
			s.refuse(w, r)
			return
		}
		defer leave()
		s.Handler.ServeHTTP(w, r)
	})
}

// refuse answers a rejected request with Retry-After: 1. The API server retries ten times before it rejects a pod.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	if s.TooMuch != nil {
		s.TooMuch(w, r)
		return
	}
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, "akv2k8s: too many requests from this address; retry in a second\n")
}

// counted closes connections beyond the limit before anything is read or computed for them.
type counted struct {
	net.Listener
	gate *Gate
}

// Accept implements net.Listener.
func (c counted) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // a TCP address always parses
		leave, ok := c.gate.connect(from.Addr().Unmap(), func() { _ = conn.Close() })
		if ok {
			return &connection{Conn: conn, leave: sync.OnceFunc(leave)}, nil
		}
		_ = conn.Close()
	}
}

// connection releases its place in the counts when it is closed.
type connection struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
