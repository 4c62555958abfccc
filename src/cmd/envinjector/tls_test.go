package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// selfSigned is a certificate for everything, and its PEM.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"webhook"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestWhoHasNoCertificateOfTheAPIServerIsNotAnswered(t *testing.T) {
	serving, root := selfSigned(t)
	mine, clientCA := selfSigned(t)
	foreign, _ := selfSigned(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	for name, c := range map[string]struct {
		clientCA string
		show     []tls.Certificate
		answered bool
	}{
		"anybody, if nothing is set": {"", nil, true},
		"the API server":             {clientCA, []tls.Certificate{mine}, true},
		"somebody without one":       {clientCA, nil, false},
		"somebody with another's":    {clientCA, []tls.Certificate{foreign}, false},
	} {
		t.Run(name, func(t *testing.T) {
			secure, err := webhookTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &serving, nil }, c.clientCA)
			require.NoError(t, err)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
			server.TLS = secure
			server.StartTLS()
			defer server.Close()
			// Not by the certificates of the test server, but by those that were asked for.
			server.TLS.Certificates = nil
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "webhook", Certificates: c.show, MinVersion: tls.VersionTLS12}}}
			response, err := client.Get(server.URL)
			assert.Equal(t, c.answered, err == nil, "%v", err)
			if err == nil {
				require.NoError(t, response.Body.Close())
			}
		})
	}
	_, err := webhookTLS(nil, "no PEM")
	assert.ErrorContains(t, err, "env_injector.clientCA")
}
