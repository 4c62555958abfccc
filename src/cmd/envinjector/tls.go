package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// watcher reads the certificate that is shown to the API server again whenever its files change; nil if it is of our
// own CA.
func (s settings) watcher() (*certwatcher.CertWatcher, error) {
	if s.certificates == "" {
		return nil, nil
	}
	chain := filepath.Join(s.certificates, "tls.crt")
	w, err := certwatcher.New(chain, filepath.Join(s.certificates, "tls.key"))
	if err == nil {
		err = checkChain(chain)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the webhook's certificate: %w; see the values env_injector.certificate", err)
	}
	// A certificate that is renewed while the webhook runs is served even if its chain is damaged: the leaf can be
	// read, and without it the webhook would have no valid certificate. The log says what to correct.
	w.RegisterCallback(func(tls.Certificate) {
		if err := checkChain(chain); err != nil {
			ctrl.Log.WithName("webhook").Error(err,
				"the new certificate of the webhook is damaged; see the values env_injector.certificate")
		}
	})
	return w, nil
}

// checkChain says which block of a certificate with its chain can't be read. The library passes such a block over, and
// then the API server does not believe the webhook.
func checkChain(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := certificate.Blocks(content); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// webhookTLS is how the API server is answered: with the keeper's certificate and, if its authority is known, only if
// it shows one of its own.
func webhookTLS(getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), clientCA string) (*tls.Config,
	error) {
	var clients *x509.CertPool
	if clientCA != "" {
		authorities, err := trust.Certificates([]byte(clientCA),
			"the certificates of env_injector.clientCA (WEBHOOK_CLIENT_CA)")
		if err != nil {
			return nil, err
		}
		clients = x509.NewCertPool()
		for _, authority := range authorities {
			clients.AddCert(authority)
		}
		if len(authorities) == 0 {
			return nil, errors.New("WEBHOOK_CLIENT_CA holds no certificate; write the PEM of the API server's " +
				"authority into the value env_injector.clientCA")
		}
	}
	c := &tls.Config{GetCertificate: getCertificate, MinVersion: tls.VersionTLS12}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return c, nil
}
