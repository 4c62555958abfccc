package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server serves a Broker over TLS. It is a Runnable that needs no leadership: every replica answers.
type Server struct {
	// Address to listen on, for example :9443.
	Address string
	// Handler is the Broker.
	Handler http.Handler
	// Certificate gives the certificate to serve with.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientAuth says whether clients are asked for certificates; the zero value is that they are not.
	ClientAuth tls.ClientAuthType
}

// drain is how long requests that are on their way may take after the end was asked for.
const drain = 10 * time.Second

// NeedLeaderElection implements controller-runtime's interface.
func (*Server) NeedLeaderElection() bool { return false }

// Start serves until the context ends, and lets requests that are on their way end too.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listening for pods: %w", err)
	}
	server := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: requestTimeout + 5*time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 2 * maxTokenBytes,
		TLSConfig: &tls.Config{GetCertificate: s.Certificate, ClientAuth: s.ClientAuth, MinVersion: tls.VersionTLS13}}
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(done)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		_ = server.Shutdown(ending)
	})()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving pods: %w", err)
	}
	<-done
	return nil
}
