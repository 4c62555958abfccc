package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/akv2k8s/akv2k8s/src/trust"
)

// watcher reads the certificate that is shown to the API server again whenever its files change; nil if it is of our own CA.
func (s settings) watcher() (*certwatcher.CertWatcher, error) {
	if s.certificates == "" {
		return nil, nil
	}
	w, err := certwatcher.New(filepath.Join(s.certificates, "tls.crt"), filepath.Join(s.certificates, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the webhook's certificate: %w; see the values env_injector.certificate", err)
	}
	return w, nil
}

// webhookTLS is how the API server is answered: with the keeper's certificate and, if its authority is known, only if it shows one of its own.
func webhookTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), clientCA string) (*tls.Config, error) {
	var clients *x509.CertPool
	if clientCA != "" {
		authorities, err := trust.Certificates([]byte(clientCA), "the certificates of env_injector.clientCA (WEBHOOK_CLIENT_CA)")
		if err != nil {
			return nil, err
		}
		clients = x509.NewCertPool()
		for _, authority := range authorities {
			clients.AddCert(authority)
		}
		if len(authorities) == 0 {
			return nil, errors.New("WEBHOOK_CLIENT_CA holds no certificate; write the PEM of the API server's authority into the value env_injector.clientCA")
		}
	}
	c := &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return c, nil
}
