package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check says why something is not well, or nil.
type Check func() error

// Server serves /healthz, /readyz and, if Gatherer is set, /metrics over plain HTTP. It is a Runnable that needs no leadership,
// so that every replica answers its probes.
type Server struct {
	// Address to listen on, for example :9000.
	Address string
	// Ready is asked by /readyz; nil means always ready.
	Ready Check
	// Gatherer gives the metrics; nil switches /metrics off.
	Gatherer prometheus.Gatherer
	// More are further handlers, by the pattern of http.ServeMux.
	More map[string]http.Handler
}

// NeedLeaderElection implements controller-runtime's interface.
func (*Server) NeedLeaderElection() bool { return false }

// Start serves until the context ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for health checks and metrics: %w", err)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health checks and metrics: %w", err)
	}
	return nil
}

// Handler answers the requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(nil))
	mux.HandleFunc("GET /readyz", answer(s.Ready))
	if s.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{}))
	}
	for pattern, handler := range s.More {
		mux.Handle(pattern, handler)
	}
	return mux
}

func answer(check Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check != nil {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}
