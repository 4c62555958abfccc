package ociimage

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// errNonsense reports an answer that does not follow the protocol of registries.
var errNonsense = errors.New("the answer could not be parsed")

// code matches an error code of a registry. Other text in its place is not passed on.
var code = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// failed describes a failed attempt to read an image.
type failed struct {
	q    Question
	at   name.Reference
	with credentials
	*trace
}

// explain converts a failure into the error that the pod's author sees: the status and the code of the registry. How a
// connection failed, and that something other than a registry answered, is only logged, because such answers would
// reveal the network to anybody who can create pods. The text of an answer is never passed on.
func (i *Images) explain(ctx context.Context, err error, f failed) error {
	e := &fault.Error{Kind: fault.Unavailable, Doing: "reading the command of image " + f.at.String()}
	registry := f.at.Context().RegistryStr()
	var classified *fault.Error
	var answer *transport.Error
	isAnswer := errors.As(err, &answer)
	switch {
	case errors.Is(context.Cause(ctx), errEvicted):
		e.Kind, e.Cause, e.Next = fault.Throttled,
			fmt.Errorf("the registry %s is slow, and other look-ups are waiting", registry), "try again"
		return e
	case errors.As(err, &classified):
		e.Kind, e.Cause = classified.Kind, classified
		return e
	case errors.Is(f.firstFailure(), errAddress) && isAddress(registry):
		e.Kind, e.Cause = fault.Denied, fmt.Errorf("%s is an address that a registry must not have", registry)
		e.Next = "if it is intended, add it to the value env_injector.registries.local"
		return e
	case isAnswer && (f.isRegistry() || errorCode(answer) != ""):
		row := diagnosis.Explain(diagnosis.Registry, answer.StatusCode, "", diagnosis.Facts{"registry": registry})
		e.Kind, e.Next = row.Kind, row.Next
		e.Cause = fmt.Errorf("%s to %s: %w",
			strings.TrimSpace(fmt.Sprintf("the registry %s answered %d %s", registry, answer.StatusCode,
				errorCode(answer))), f.with.whose, row.Cause)
		return e
	case isAnswer:
		e.Kind = kindOf(answer.StatusCode)
	}
	cause := network(err)
	if first := f.firstFailure(); first != nil && !isAnswer {
		cause = network(first)
	}
	if isAnswer {
		cause = fmt.Sprintf("it answered %d, and not in the form of a registry", answer.StatusCode)
	}
	refused := i.unreachable(f, cause)
	refused.Kind = e.Kind
	return refused
}

// unreachable is the error for every failure in which no registry answered. Its text does not depend on the cause,
// which is only logged.
func (i *Images) unreachable(f failed, cause string) *fault.Error {
	return &fault.Error{Kind: fault.Unavailable, Doing: "reading the command of image " + f.at.String(),
		Cause: fmt.Errorf("the registry %s could not be reached or did not answer as a registry",
			f.at.Context().RegistryStr()), Next: i.report(f, cause)}
}

// report logs the cause with a random id, and returns the next step for the pod's author, which quotes the id.
func (i *Images) report(f failed, cause string) string {
	if !i.lines.Allow() {
		return "try again; the cause is not logged, because the env-injector's log has too many such lines now"
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	id := hex.EncodeToString(random)
	i.Log.Info("a registry could not be read", "id", id, "namespace", f.q.Namespace, "image", f.at.String(),
		"credentials", f.with.whose, "cause", cause)
	return "the env-injector's log has the cause, id " + id
}

// isAddress reports whether the host of a registry is an IP address.
func isAddress(registry string) bool {
	host := registry
	if name, _, err := net.SplitHostPort(registry); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// errorCode returns the first error code of an answer; empty if the answer has none.
func errorCode(answer *transport.Error) string {
	if len(answer.Errors) > 0 && code.MatchString(string(answer.Errors[0].Code)) {
		return string(answer.Errors[0].Code)
	}
	return ""
}

func kindOf(status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Denied
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusTooManyRequests:
		return fault.Throttled
	}
	return fault.Unavailable
}

// network describes for the log why a call failed. It does not use the text of an unknown error, which can quote an
// answer.
func network(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	known := []error{errAddress, errPlainHTTP, errRedirect, errPaused, errTooLong, errTooComplex, errChallenge}
	at := slices.IndexFunc(known, func(one error) bool { return errors.Is(err, one) })
	switch {
	case at >= 0:
		return known[at].Error()
	case errors.As(err, &dns):
		return "its name does not resolve"
	case errors.As(err, &authority):
		return "its certificate is signed by an unknown authority; add the CA to the value global.extraCACertificates"
	case errors.As(err, &host):
		return "its certificate is for another host name"
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return errPlainHTTP.Error()
	}
	return explainConnection(err)
}

// explainConnection describes how a connection failed. Any other error is about the content of the answer.
func explainConnection(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled):
		return "it did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it, or a proxy, closed the connection before the answer was complete; try again"
	case errors.As(err, &errno):
		return "the connection failed: " + errno.Error()
	}
	return errNonsense.Error()
}
