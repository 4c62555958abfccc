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
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// errMalformedAnswer reports an answer that does not follow the protocol of registries.
var errMalformedAnswer = errors.New("the answer could not be parsed")

// registryErrorPattern matches an error code of a registry. Other text in its place is not passed on.
var registryErrorPattern = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// failedAttempt describes a failed attempt to read an image.
type failedAttempt struct {
	query       Query
	reference   name.Reference
	credentials credentials
	*lookupTrace
}

// explainFailure converts a failure into the error that the pod's author sees: the status and the code of the registry.
// How a connection failed, and that something other than a registry answered, is only logged, because such answers
// would reveal the network to anybody who can create pods. The text of an answer is never passed on.
func (i *Images) explainFailure(ctx context.Context, err error, f failedAttempt) error {
	e := &fault.Error{Kind: fault.Unavailable, Operation: "reading the command of image " + f.reference.String()}
	registry := f.reference.Context().RegistryStr()
	var classified *fault.Error
	var answer *transport.Error
	isAnswer := errors.As(err, &answer)
	switch {
	case f.limitError(ctx) != nil:
		e.Kind, e.Cause, e.Next = fault.Throttled, f.limitError(ctx), "try again"
		return e
	case errors.As(err, &classified):
		e.Kind, e.Cause = classified.Kind, classified
		return e
	case errors.Is(f.firstFailure(), errForbiddenAddress) && isIPAddress(registry):
		e.Kind, e.Cause = fault.Denied, fmt.Errorf("%s is an address that a registry must not have", registry)
		e.Next = "if it is intended, add it to the value env_injector.registries.local"
		return e
	case isAnswer && (f.isRegistry() || registryErrorCode(answer) != ""):
		row := diagnosis.Explain(diagnosis.Registry, answer.StatusCode, "", diagnosis.Facts{"registry": registry})
		e.Kind, e.Next = row.Kind, row.Next
		e.Cause = fmt.Errorf("%s to %s: %w",
			strings.TrimSpace(fmt.Sprintf("the registry %s answered %d %s", registry, answer.StatusCode,
				registryErrorCode(answer))), f.credentials.description, row.Cause)
		return e
	case isAnswer:
		e.Kind = kindOfStatus(answer.StatusCode)
	}
	cause := describeNetworkError(err)
	if first := f.firstFailure(); first != nil && !isAnswer {
		cause = describeNetworkError(first)
	}
	if isAnswer {
		cause = fmt.Sprintf("it answered %d, and not in the form of a registry", answer.StatusCode)
	}
	refused := i.unreachableError(f, cause)
	refused.Kind = e.Kind
	return refused
}

// limitError returns the limit of the webhook that ended the attempt, or nil if none did.
func (f failedAttempt) limitError(ctx context.Context) error {
	switch {
	case errors.Is(context.Cause(ctx), errSlotReclaimed):
		return fmt.Errorf("the registry %s is slow, and other look-ups are waiting",
			f.reference.Context().RegistryStr())
	case errors.Is(f.firstFailure(), errAnswersTooLarge):
		return fmt.Errorf("%w for namespace %s", errAnswersTooLarge, f.query.Namespace)
	}
	return nil
}

// unreachableError is the error for every failure in which no registry answered. Its text does not depend on the cause,
// which is only logged.
func (i *Images) unreachableError(f failedAttempt, cause string) *fault.Error {
	return &fault.Error{Kind: fault.Unavailable, Operation: "reading the command of image " + f.reference.String(),
		Cause: fmt.Errorf("the registry %s could not be reached or did not answer as a registry",
			f.reference.Context().RegistryStr()), Next: i.logCause(f, cause)}
}

// logCause logs the cause with a random id, and returns the next step for the pod's author, which quotes the id.
func (i *Images) logCause(f failedAttempt, cause string) string {
	if !i.causeLogLimiter.Allow() {
		return "try again; the cause is not logged, because the env-injector's log has too many such lines now"
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	id := hex.EncodeToString(random)
	i.Log.Info("a registry could not be read", logkey.ID, id, logkey.Namespace, f.query.Namespace, logkey.Image,
		f.reference.String(), logkey.Credentials, f.credentials.description, logkey.Error, cause)
	return "the env-injector's log has the cause, id " + id
}

// isIPAddress reports whether the host of a registry is an IP address.
func isIPAddress(registry string) bool {
	host := registry
	if name, _, err := net.SplitHostPort(registry); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// registryErrorCode returns the first error code of an answer; empty if the answer has none.
func registryErrorCode(answer *transport.Error) string {
	if len(answer.Errors) > 0 && registryErrorPattern.MatchString(string(answer.Errors[0].Code)) {
		return string(answer.Errors[0].Code)
	}
	return ""
}

func kindOfStatus(status int) fault.Kind {
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

// describeNetworkError describes for the log why a call failed. It does not use the text of an unknown error, which can
// quote an answer.
func describeNetworkError(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	known := []error{errForbiddenAddress, errPlainHTTP, errUnsafeRedirect, errBreakerOpen, errAnswerTooLong,
		errAnswerTooComplex, errChallengeTooLong}
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
	return describeConnectionError(err)
}

// describeConnectionError describes how a connection failed. Any other error is about the content of the answer.
func describeConnectionError(err error) string {
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
	return errMalformedAnswer.Error()
}
