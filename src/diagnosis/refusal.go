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

// bounded returns ErrTooLarge instead of bytes beyond its limit.
type bounded struct {
	io.ReadCloser
	left int64
}

// Bounded returns a body that reads at most limit bytes of another one, and then returns ErrTooLarge.
func Bounded(body io.ReadCloser, limit int64) io.ReadCloser { return &bounded{body, limit} }

// Read implements io.Reader.
func (b *bounded) Read(into []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(into)) > b.left+1 {
		into = into[:b.left+1] // one more byte detects a larger body
	}
	n, err := b.ReadCloser.Read(into)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// Name is the result of a DNS query. The caller takes it out of the error, because this package does not import net.
type Name struct {
	// Asked is the name in the query; empty if the error does not come from DNS.
	Asked string
	// NotFound is true if the name does not exist.
	NotFound bool
}

// Unanswered explains why a request to facts["host"] had no answer. It quotes no addresses and ports, which differ each
// time.
func Unanswered(err error, name Name, facts Facts) *fault.Error {
	var refusal *ProxyRefusal
	code := connectionCode(err)
	switch {
	case errors.As(err, &refusal):
		facts["via"] = Via(refusal.Proxy)
		return Explain(Between, refusal.Status, "", facts)
	case errors.Is(err, ErrTooLarge):
		return Explain(Between, 0, TooLarge, facts)
	case name.Asked != "" && !strings.EqualFold(strings.TrimSuffix(name.Asked, "."), facts["host"]):
		facts["proxy"] = name.Asked
		code = ProxyNotFound
	case name.Asked != "" && name.NotFound:
		code = NameNotFound
	case name.Asked != "":
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

// Lost reports whether an error comes from a connection, and not from the content of an answer.
func Lost(err error) bool {
	var transport *url.Error
	var refusal *ProxyRefusal
	return errors.As(err, &transport) || errors.As(err, &refusal) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, ErrTooLarge) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// Via returns the fact via for the host of a proxy; empty without one.
func Via(proxy string) string {
	if proxy == "" {
		return ""
	}
	return " (through the proxy " + proxy + ")"
}
