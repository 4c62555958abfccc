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
)

// Server serves a port over TLS, through a Gate. It is a Runnable that needs no leadership: every replica answers.
type Server struct {
	// Address to listen on, for example :9443.
	Address string
	Gate    *Gate
	Handler http.Handler
	// TLS has the certificate to serve with.
	TLS *tls.Config
	// Patience bounds the work for one request.
	Patience time.Duration
	// TooMuch answers a request of which there are too many; nil is a sentence.
	TooMuch http.HandlerFunc

	listens atomic.Bool
}

const (
	// drain is how long requests that are on their way may take after the end was asked for.
	drain = 20 * time.Second
	// patience is for a handshake, and for a request to be read. As long as the API server takes for its side of a handshake: on a machine that is overloaded it is needed.
	patience = 10 * time.Second
	// maxHeaderBytes has room for the longest token that is looked at.
	maxHeaderBytes = 32 << 10
)

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
	server := &http.Server{Handler: s.bounded(), ReadHeaderTimeout: patience, ReadTimeout: patience,
		WriteTimeout: s.Patience + 5*time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: maxHeaderBytes, TLSConfig: s.TLS,
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.Gate.Log.V(4)), slog.LevelInfo)} // strangers could fill the log
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(done)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		_ = server.Shutdown(ending)
	})()
	s.listens.Store(true)
	if err := server.ServeTLS(counted{listener, s.Gate}, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", s.Gate.Port, err)
	}
	<-done
	return nil
}

// bounded answers those requests that the gate lets in. Who has shown the API server's certificate is let in.
func (s *Server) bounded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || (r.TLS != nil && len(r.TLS.VerifiedChains) > 0) {
			s.Handler.ServeHTTP(w, r)
			return
		}
		leave, ok := s.Gate.request(from.Addr().Unmap())
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
	_, _ = io.WriteString(w, "akv2k8s: this address asks too much; ask again in a second\n")
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
		leave, ok := c.gate.connect(from.Addr().Unmap())
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
