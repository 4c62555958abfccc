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

// Server serves a port through a Gate. It is a Runnable that needs no leadership: every replica answers.
type Server struct {
	// Address to listen on, for example :9443.
	Address string
	Gate    *Gate
	Handler http.Handler
	// TLS has the certificate to serve with; nil serves plain HTTP.
	TLS *tls.Config
	// Patience bounds the work for one request.
	Patience time.Duration
	// TooMuch answers a request of which there are too many; nil is a sentence.
	TooMuch http.HandlerFunc

	listens atomic.Bool
}

// HealthLimits are those of the port of health checks and metrics. New connections are never refused there: pods with
// hostNetwork have the address that probes come from.
func HealthLimits() Limits {
	return Limits{Connections: limits.HealthConnections, Requests: limits.HealthRequests,
		RequestsPerSecond: limits.HealthRequestsPerSecond,
		RequestsBurst:     limits.HealthRequestsBurst, AllConnections: limits.HealthAllConnections}
}

// drain is how long requests that are on their way may take after the end was asked for.
const drain = 20 * time.Second

// NeedLeaderElection implements controller-runtime's interface.
func (*Server) NeedLeaderElection() bool { return false }

// Listening says why the port is not served, or nil.
func (s *Server) Listening() error {
	if !s.listens.Load() {
		return fmt.Errorf("%s is not served yet", s.Gate.Port)
	}
	return nil
}

// Start serves until the context ends, and lets requests that are on their way end too.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for %s: %w", s.Gate.Port, err)
	}
	return s.Serve(ctx, listener)
}

// Serve does it with a listener that is there already.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.bounded(), ReadHeaderTimeout: limits.RequestReadTime,
		ReadTimeout:  limits.RequestReadTime,
		WriteTimeout: s.Patience + limits.AnswerWriteTime, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: limits.RequestHeaderBytes, TLSConfig: s.TLS,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limits.HTTP2Streams,
			MaxReceiveBufferPerConnection: limits.HTTP2ReceiveBytes,
			MaxReceiveBufferPerStream:     limits.HTTP2ReceiveBytes},
		// strangers could fill the log
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

// hasCertificate says whether the client has shown the API server's certificate, which is the only one that is
// verified.
func hasCertificate(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// addressOf is where the request comes from. Requests that do not say so, as those of tests, share one address.
func addressOf(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap()
}

// bounded answers those requests that the gate lets in.
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

// refuse asks to come back in a second, which the API server does by itself, ten times, before it refuses a pod.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	if s.TooMuch != nil {
		s.TooMuch(w, r)
		return
	}
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, "akv2k8s: too many requests from this address; retry in a second\n")
}

// counted closes connections of which an address has too many, before anything is read or computed for them.
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
		from, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // of a listener for TCP it is always one
		leave, ok := c.gate.connect(from.Addr().Unmap(), func() { _ = conn.Close() })
		if ok {
			return &connection{Conn: conn, leave: sync.OnceFunc(leave)}, nil
		}
		_ = conn.Close()
	}
}

// connection tells the gate when it ends.
type connection struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
