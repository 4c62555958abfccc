package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Pool is the system's pool (in an image without one: empty), the built-in public roots, and the certificates in extra, which
// is PEM and may be empty. A block in extra that is no certificate is fault.Invalid.
func Pool(extra []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for root := range bundle.Roots() {
		if root.Constraint == nil { // read so, a root is bytes until somebody needs it, which is a fraction of the memory
			if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})) {
				return nil, fault.New(fault.Bug, "a built-in root certificate can't be read")
			}
			continue
		}
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fault.Wrap(fault.Bug, err, "reading a built-in root certificate")
		}
		pool.AddCertWithConstraint(cert, root.Constraint)
	}
	for n := 1; ; n++ {
		var block *pem.Block
		if block, extra = pem.Decode(extra); block == nil {
			if n == 1 && len(bytes.TrimSpace(extra)) > 0 {
				return nil, fault.New(fault.Invalid, "the extra CA certificates hold no PEM block; put PEM certificates there")
			}
			return pool, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return nil, fault.New(fault.Invalid, "block %d of the extra CA certificates is no certificate; put PEM certificates alone there", n)
		}
		pool.AddCert(cert)
	}
}

// Root is a public root certificate.
type Root struct {
	// Subject as a distinguished name.
	Subject string
	// SHA256 is the fingerprint of the certificate, hexadecimal.
	SHA256 string
}

// Trusted are the built-in public roots that a pool really believes at that time, found out by verifying each against it.
func Trusted(pool *x509.CertPool, now time.Time) []Root {
	var roots []Root
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue
		}
		options := x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := cert.Verify(options); err != nil {
			continue
		}
		sum := sha256.Sum256(cert.Raw)
		roots = append(roots, Root{Subject: cert.Subject.String(), SHA256: hex.EncodeToString(sum[:])})
	}
	return roots
}

// Print writes a line for each root that a pool with these extra CAs believes: fingerprint and subject. It is what the
// subcommand trust of each program shows.
func Print(out io.Writer, extra []byte, now time.Time) error {
	pool, err := Pool(extra)
	if err != nil {
		return err
	}
	for _, root := range Trusted(pool, now) {
		if _, err := fmt.Fprintf(out, "%s %s\n", root.SHA256, root.Subject); err != nil {
			return err
		}
	}
	return nil
}

// Client is an HTTP client that believes the pool alone, speaks HTTP/2, obeys the proxy settings of the environment and keeps few
// connections per host, alive. It follows no redirect, because no service of Azure that it is for sends one, and a request may carry a token.
// A proxy that does not open a connection is a *diagnosis.ProxyRefusal.
func Client(pool *x509.CertPool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			OnProxyConnectResponse: checkProxy,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           200,
			MaxIdleConnsPerHost:    20,
			MaxConnsPerHost:        20,
			MaxResponseHeaderBytes: limits.ResponseHeaderBytes,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  30 * time.Second,
		}}
}

// checkProxy keeps what a proxy answered, of which net/http passes on the text alone.
func checkProxy(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return &diagnosis.ProxyRefusal{Status: response.StatusCode, Proxy: proxy.Host}
}
