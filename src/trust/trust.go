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

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Pool is the system's pool (in an image without one: empty), the built-in public roots, and the certificates in extra,
// which is PEM and may be empty. See Certificates for what it may hold.
func Pool(extra []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for root := range bundle.Roots() {
		// read so, a root is bytes until somebody needs it, which is a fraction of the memory
		if root.Constraint == nil {
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
	own, err := Certificates(extra, "the extra CA certificates")
	if err != nil {
		return nil, err
	}
	for _, cert := range own {
		pool.AddCert(cert)
	}
	return pool, nil
}

// Certificates reads PEM that holds certificates alone; of says what it is, for messages. Nothing is no certificate,
// but text without a certificate, and every block that can't be read, is fault.Invalid: a CA that is left out would
// only show as connections that fail.
func Certificates(content []byte, of string) ([]*x509.Certificate, error) {
	blocks, err := certificate.Blocks(content)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Doing: "reading " + of, Cause: err,
			Next: "write each certificate as PEM, as its authority gave it"}
	}
	if len(blocks) == 0 && len(bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff")))) > 0 {
		return nil, fault.New(fault.Invalid, "%s hold no PEM block; write PEM certificates there", of)
	}
	var all []*x509.Certificate
	for i, block := range blocks {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			return nil, fault.New(fault.Invalid,
				"block %d of %s is not a certificate; keep certificates alone there, and never a private key", i+1, of)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Invalid,
				"block %d of %s is a certificate that can't be read; ask its authority for one without a negative "+
					"serial number and with an RSA, Ed25519 or NIST key", i+1, of)
		}
		all = append(all, cert)
	}
	return all, nil
}

// Root is a public root certificate.
type Root struct {
	// Subject as a distinguished name.
	Subject string
	// SHA256 is the fingerprint of the certificate, hexadecimal.
	SHA256 string
}

// Trusted are the built-in public roots that a pool really believes at that time, found out by verifying each against
// it.
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

// Client is an HTTP client that believes the pool alone, speaks HTTP/2, obeys the proxy settings of the environment and
// keeps few connections per host, alive. It follows no redirect, because no service of Azure that it is for sends one,
// and a request may carry a token. A proxy that does not open a connection is a *diagnosis.ProxyRefusal.
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
