package refusal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The beginnings of messages that the API server itself writes. What follows them may be anybody's text, so only names
// are taken out, and a name has only letters that names have.
var (
	webhookDenied = regexp.MustCompile(`^admission webhook "([a-z0-9.-]+)" denied the request`)
	webhookFailed = regexp.MustCompile(`^(?:Internal error occurred: )?failed calling webhook "([a-z0-9.-]+)": `)
	policyDenied  = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: ValidatingAdmissionPolicy '([a-z0-9.-]+)' with binding '([a-z0-9.-]+)' denied request`)
	overQuota     = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: exceeded quota: ([a-z0-9.-]+), requested: `)
	invalid       = regexp.MustCompile(`^(?:Secret|ConfigMap) "[a-z0-9.-]+" is invalid: \[?([a-zA-Z.]+(?:\[[-._a-zA-Z0-9]+\])?): `)
	notAllowed    = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: User "[a-z0-9:.-]+" cannot ([a-z]+) resource "[a-z]+" in API group`)
)

// longestName bounds what is taken out of a message; no object has a longer name.
const longestName = 253

// Describe says why a request failed. The text is the same each time for the same cause, and holds nothing of the
// object but the names of what refused it.
func Describe(err error) string {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return unanswered(err)
	}
	status := answered.Status()
	message := status.Message
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return "the namespace is being deleted"
	case apierrors.IsRequestEntityTooLargeError(err):
		return "the object is too large"
	}
	for _, known := range []struct {
		pattern *regexp.Regexp
		text    string
	}{
		{webhookDenied,
			"admission webhook %q denied it; what the webhook says is not repeated here, because it may quote the data"},
		{webhookFailed, "admission webhook %q did not answer as it should"},
		{policyDenied, "ValidatingAdmissionPolicy %q (binding %q) denied it; what the policy says is not repeated " +
			"here, because it may quote the data"},
		{overQuota, "ResourceQuota %q is exceeded"},
		{invalid, "field %q is not valid"},
		{notAllowed, "the controller has no permission to %s it; check the chart's roles"},
	} {
		if found := known.pattern.FindStringSubmatch(message); found != nil {
			return fmt.Sprintf(known.text, names(found[1:])...)
		}
	}
	return fmt.Sprintf("it answered %d %s", status.Code, reason(err))
}

// names are what a pattern found, as arguments.
func names(found []string) []any {
	arguments := make([]any, len(found))
	for i, name := range found {
		if len(name) > longestName {
			name = name[:longestName]
		}
		arguments[i] = name
	}
	return arguments
}

// reason is one of the words of the API; anything else could be a webhook's.
func reason(err error) string {
	for _, known := range []struct {
		is   func(error) bool
		text string
	}{
		{apierrors.IsForbidden, "Forbidden"}, {apierrors.IsInvalid, "Invalid"}, {apierrors.IsBadRequest, "BadRequest"},
		{apierrors.IsConflict, "Conflict"},
		{apierrors.IsNotFound, "NotFound"}, {apierrors.IsAlreadyExists, "AlreadyExists"},
		{apierrors.IsUnauthorized, "Unauthorized"},
		{apierrors.IsTooManyRequests, "TooManyRequests"}, {apierrors.IsTimeout, "Timeout"},
		{apierrors.IsServerTimeout, "ServerTimeout"},
		{apierrors.IsServiceUnavailable, "ServiceUnavailable"}, {apierrors.IsInternalError, "InternalError"},
	} {
		if known.is(err) {
			return known.text
		}
	}
	return "with an error that it does not name"
}

// unanswered describes a request that the API server did not answer. What the network says is about the connection; any
// other text may be about the object.
func unanswered(err error) string {
	var network *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.Is(err, context.Canceled):
		return "the request was canceled"
	case errors.As(err, &network):
		return "it could not be reached: " + network.Err.Error()
	}
	return fmt.Sprintf("the request failed before it was answered (%T)", err)
}

// Error is a failed request with a text that is safe to show; errors.Is and errors.As see the original.
type Error struct {
	// Doing says what failed, as a gerund and its object.
	Doing string
	cause error
}

// Wrap makes the Error of a failed request; nil for nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Doing: fmt.Sprintf(format, args...), cause: err}
}

// Error implements error.
func (e *Error) Error() string { return e.Doing + ": the API server: " + Describe(e.cause) }

// Unwrap gives the original, whose text must not be shown.
func (e *Error) Unwrap() error { return e.cause }

// Denied says whether an admission webhook denied the request, with whatever code, or could not be asked.
func Denied(err error) bool {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return false
	}
	message := answered.Status().Message
	return webhookDenied.MatchString(message) || webhookFailed.MatchString(message)
}
