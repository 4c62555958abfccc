package webhooktls

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

// NewCertWatcher watches the files tls.crt and tls.key of the webhook's certificate in a folder, and loads changes. It
// returns nil for an empty name: the program's own CA issues the certificate then.
func NewCertWatcher(folder string) (*certwatcher.CertWatcher, error) {
	if folder == "" {
		return nil, nil
	}
	chain := filepath.Join(folder, "tls.crt")
	w, err := certwatcher.New(chain, filepath.Join(folder, "tls.key"))
	if err == nil {
		err = checkCertificateChain(chain)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the webhook's certificate: %w; see the values env_injector.certificate", err)
	}
	// A certificate that is renewed while the webhook runs is served even if its chain is damaged: the leaf is valid,
	// and without it the webhook would have no valid certificate.
	w.RegisterCallback(func(tls.Certificate) {
		if err := checkCertificateChain(chain); err != nil {
			ctrl.Log.WithName("webhook").Error(err,
				"the new certificate of the webhook is damaged; see the values env_injector.certificate")
		}
	})
	return w, nil
}

// checkCertificateChain returns an error that names the first block of a certificate chain that can't be parsed. The
// library skips such a block, and then the API server does not trust the webhook.
func checkCertificateChain(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := certificate.DecodePEMBlocks(content); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// NewConfig returns the TLS configuration of the webhook. If clientCA (PEM) is set, clients must have a certificate of
// that authority.
func NewConfig(getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error),
	clientCA string) (*tls.Config, error) {
	var clients *x509.CertPool
	if clientCA != "" {
		authorities, err := trust.ParseCertificates([]byte(clientCA),
			"the certificates of env_injector.clientCA (WEBHOOK_CLIENT_CA)")
		if err != nil {
			return nil, err
		}
		clients = x509.NewCertPool()
		for _, authority := range authorities {
			clients.AddCert(authority)
		}
		if len(authorities) == 0 {
			return nil, errors.New("WEBHOOK_CLIENT_CA has no certificate; set the value env_injector.clientCA " +
				"to the PEM of the API server's client CA")
		}
	}
	c := &tls.Config{GetCertificate: getCertificate, MinVersion: tls.VersionTLS12}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	return c, nil
}
