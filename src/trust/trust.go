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

// NewPool returns the system's pool (empty in an image without one) with the built-in public roots and the certificates
// in extra, which is PEM and can be empty. See Certificates for its format and errors.
func NewPool(extra []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for root := range bundle.Roots() {
		// AppendCertsFromPEM parses a root when it is first used, which saves most of the memory
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
	own, err := ParseCertificates(extra, "the extra CA certificates")
	if err != nil {
		return nil, err
	}
	for _, cert := range own {
		pool.AddCert(cert)
	}
	return pool, nil
}

// ParseCertificates parses PEM that holds only certificates; of names it in messages. Empty content has no
// certificates. Text without a PEM block and a block that cannot be parsed are fault.Invalid, because a missing CA
// would otherwise show only as failed connections.
func ParseCertificates(content []byte, of string) ([]*x509.Certificate, error) {
	blocks, err := certificate.DecodePEMBlocks(content)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Operation: "reading " + of, Cause: err,
			Next: "write each certificate as PEM, unchanged from its authority"}
	}
	if len(blocks) == 0 && len(bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff")))) > 0 {
		return nil, fault.New(fault.Invalid, "%s contain no PEM block; write PEM certificates", of)
	}
	var all []*x509.Certificate
	for i, block := range blocks {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			return nil, fault.New(fault.Invalid,
				"block %d of %s is not a certificate; write only certificates, and never a private key", i+1, of)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Invalid,
				"block %d of %s is a certificate that cannot be parsed; request one without a negative serial "+
					"number and with an RSA, Ed25519 or NIST key from its authority", i+1, of)
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

// TrustedRoots returns the built-in public roots that a pool trusts at that time. It verifies each root against the
// pool.
func TrustedRoots(pool *x509.CertPool, now time.Time) []Root {
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

// PrintRoots writes the fingerprint and subject of each built-in root that a pool with these extra CAs trusts, one root
// a line. It is the subcommand trust of each program.
func PrintRoots(out io.Writer, extra []byte, now time.Time) error {
	pool, err := NewPool(extra)
	if err != nil {
		return err
	}
	for _, root := range TrustedRoots(pool, now) {
		if _, err := fmt.Fprintf(out, "%s %s\n", root.SHA256, root.Subject); err != nil {
			return err
		}
	}
	return nil
}

// NewHTTPClient returns an HTTP client that trusts the pool alone, speaks HTTP/2, uses the proxy settings of the
// environment and keeps a few connections per host open. It follows no redirect, because the Azure services that it
// calls send none, and a request can carry a token. The error of a proxy that does not open a connection is a
// *diagnosis.ProxyRefusal.
func NewHTTPClient(pool *x509.CertPool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			OnProxyConnectResponse: checkProxyResponse,
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

// checkProxyResponse keeps the status of a proxy's answer in the error. net/http passes on only its text.
func checkProxyResponse(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return &diagnosis.ProxyRefusal{Status: response.StatusCode, Proxy: proxy.Host}
}
