package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// webhookTLS is how the API server is answered: with the keeper's certificate and, if its authority is known, only if it shows one of its own.
func webhookTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), clientCA string) (*tls.Config, error) {
	var clients *x509.CertPool
	if clientCA != "" {
		if clients = x509.NewCertPool(); !clients.AppendCertsFromPEM([]byte(clientCA)) {
			return nil, errors.New("WEBHOOK_CLIENT_CA holds no certificate; write the PEM of the API server's authority into the value env_injector.clientCA")
		}
	}
	c := &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return c, nil
}
