package diagnosis

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// ProxyRefusal is the error of a connection that a proxy did not open.
type ProxyRefusal struct {
	// Status is the HTTP status of the answer to CONNECT, and Proxy the host of the proxy.
	Status int
	Proxy  string
}

// Error implements error.
func (p *ProxyRefusal) Error() string {
	return fmt.Sprintf("the proxy %s answered %d", p.Proxy, p.Status)
}

// ErrTooLarge is the error of a body that exceeds its limit.
var ErrTooLarge = errors.New("the answer is too large")

// limitedBody returns ErrTooLarge instead of bytes beyond its limit.
type limitedBody struct {
	io.ReadCloser
	remaining int64
}

// LimitBody returns a body that reads at most limit bytes of another one, and then returns ErrTooLarge.
func LimitBody(body io.ReadCloser, limit int64) io.ReadCloser { return &limitedBody{body, limit} }

// Read implements io.Reader.
func (b *limitedBody) Read(into []byte) (int, error) {
	if b.remaining < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(into)) > b.remaining+1 {
		into = into[:b.remaining+1] // one more byte detects a larger body
	}
	n, err := b.ReadCloser.Read(into)
	if b.remaining -= int64(n); b.remaining < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// DNSResult is the result of a DNS query. The caller takes it out of the error, because this package does not import
// net.
type DNSResult struct {
	// Name is the name in the query; empty if the error does not come from DNS.
	Name string
	// NotFound is true if the name does not exist.
	NotFound bool
}

// ExplainNoAnswer explains why a request to facts["host"] had no answer. It quotes no addresses and ports, which differ
// each time.
func ExplainNoAnswer(err error, name DNSResult, facts Facts) *fault.Error {
	var refusal *ProxyRefusal
	code := connectionCode(err)
	switch {
	case errors.As(err, &refusal):
		facts["via"] = ViaProxy(refusal.Proxy)
		return Explain(Intermediary, refusal.Status, "", facts)
	case errors.Is(err, ErrTooLarge):
		return Explain(Intermediary, 0, TooLarge, facts)
	case name.Name != "" && !strings.EqualFold(strings.TrimSuffix(name.Name, "."), facts["host"]):
		facts["proxy"] = name.Name
		code = ProxyNotFound
	case name.Name != "" && name.NotFound:
		code = NameNotFound
	case name.Name != "":
		code = DNSFailure
	}
	return Explain(Network, 0, code, facts)
}

// connectionCode returns the code of a failed connection.
func connectionCode(err error) string {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var wrong x509.HostnameError
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, &authority):
		return UnknownAuthority
	case errors.As(err, &wrong), errors.As(err, &invalid):
		return WrongCertificate
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return Timeout
	}
	return ConnectionFailed
}

// IsConnectionError reports whether an error comes from a connection, and not from the content of an answer.
func IsConnectionError(err error) bool {
	var transport *url.Error
	var refusal *ProxyRefusal
	return errors.As(err, &transport) || errors.As(err, &refusal) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, ErrTooLarge) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// ViaProxy returns the fact via for the host of a proxy; empty without one.
func ViaProxy(proxy string) string {
	if proxy == "" {
		return ""
	}
	return " (through the proxy " + proxy + ")"
}
