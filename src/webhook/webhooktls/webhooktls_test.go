package webhooktls

import (
	"bytes"
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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// selfSigned is a self-signed certificate for servers and clients, and its PEM.
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
			secure, err := NewConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &serving, nil }, c.clientCA)
			require.NoError(t, err)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
			server.TLS = secure
			server.StartTLS()
			defer server.Close()
			// httptest adds its own certificate, which would be used instead of GetCertificate.
			server.TLS.Certificates = nil
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "webhook", Certificates: c.show, MinVersion: tls.VersionTLS12}}}
			response, err := client.Get(server.URL)
			assert.Equal(t, c.answered, err == nil, "%v", err)
			if err == nil {
				require.NoError(t, response.Body.Close())
			}
		})
	}
	_, err := NewConfig(nil, "no PEM")
	assert.ErrorContains(t, err, "env_injector.clientCA")
}

func TestACertificateOfOnesOwnIsReadAgain(t *testing.T) {
	folder := t.TempDir()
	write := func() []byte {
		own, certificate := selfSigned(t)
		key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.crt"), []byte(certificate), 0o600))
		return own.Certificate[0]
	}
	first := write()
	w, err := NewCertWatcher(folder)
	require.NoError(t, err)
	shown := func() []byte {
		c, err := w.GetCertificate(nil)
		require.NoError(t, err)
		return c.Certificate[0]
	}
	assert.Equal(t, first, shown())
	w = w.WithWatchInterval(50 * time.Millisecond)
	go func() { _ = w.Start(t.Context()) }()
	second := write()
	assert.Eventually(t, func() bool { return bytes.Equal(second, shown()) }, 10*time.Second, 50*time.Millisecond)
	none, err := NewCertWatcher("")
	require.NoError(t, err)
	assert.Nil(t, none)
}

func TestADamagedChainOfTheWebhookIsNamed(t *testing.T) {
	folder := t.TempDir()
	own, certificate := selfSigned(t)
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	lines := strings.SplitAfter(certificate, "\n")
	for name, damaged := range map[string]string{
		"no last line": strings.TrimSuffix(certificate, lines[len(lines)-2]),
		"no base64":    strings.Replace(certificate, lines[1], "!"+lines[1], 1),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.crt"), []byte(certificate+damaged), 0o600))
			_, err := NewCertWatcher(folder)
			require.ErrorContains(t, err, "block 2")
			require.ErrorContains(t, err, "tls.crt")
			require.ErrorContains(t, err, "env_injector.certificate")
		})
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "tls.crt"), []byte(certificate+certificate), 0o600))
	_, err = NewCertWatcher(folder)
	assert.NoError(t, err)
}
