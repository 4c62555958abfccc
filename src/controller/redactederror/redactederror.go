package redactederror

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Prefixes of messages that the API server itself writes. The rest of such a message can contain arbitrary text, so
// only names are extracted, and the patterns match only characters that are valid in names.
var (
	webhookDeniedPattern = regexp.MustCompile(`^admission webhook "([a-z0-9.-]+)" denied the request`)
	webhookFailedPattern = regexp.MustCompile(`^(?:Internal error occurred: )?failed calling webhook "([a-z0-9.-]+)": `)
	policyDeniedPattern  = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: ValidatingAdmissionPolicy '([a-z0-9.-]+)' with binding '([a-z0-9.-]+)' denied request`)
	quotaExceededPattern = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: exceeded quota: ([a-z0-9.-]+), requested: `)
	invalidFieldPattern  = regexp.MustCompile(`^(?:Secret|ConfigMap) "[a-z0-9.-]+" is invalid: \[?([a-zA-Z.]+(?:\[[-._a-zA-Z0-9]+\])?): `)
	forbiddenPattern     = regexp.MustCompile(`^[a-z]+ "[a-z0-9.-]+" is forbidden: User "[a-z0-9:.-]+" cannot ([a-z]+) resource "[a-z]+" in API group`)
)

// maxNameLength is the maximum length of a Kubernetes object name; longer matches are cut.
const maxNameLength = 253

// Describe returns the cause of a failed request. The text is the same each time for the same cause. From the response
// it contains only the names of webhooks, policies, quotas and fields.
func Describe(err error) string {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return describeNoResponse(err)
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
		{webhookDeniedPattern,
			"admission webhook %q denied the request; its message is omitted because it can contain " +
				"secret data"},
		{webhookFailedPattern, "calling admission webhook %q failed"},
		{policyDeniedPattern,
			"ValidatingAdmissionPolicy %q (binding %q) denied the request; its message is omitted because " +
				"it can contain secret data"},
		{quotaExceededPattern, "ResourceQuota %q is exceeded"},
		{invalidFieldPattern, "field %q is invalid"},
		{forbiddenPattern, "the controller has no permission to %s the object; check the roles of the chart"},
	} {
		if found := known.pattern.FindStringSubmatch(message); found != nil {
			return fmt.Sprintf(known.text, nameArguments(found[1:])...)
		}
	}
	return fmt.Sprintf("HTTP status %d %s", status.Code, statusReason(err))
}

// nameArguments returns the submatches of a pattern as format arguments.
func nameArguments(found []string) []any {
	arguments := make([]any, len(found))
	for i, name := range found {
		if len(name) > maxNameLength {
			name = name[:maxNameLength]
		}
		arguments[i] = name
	}
	return arguments
}

// statusReason returns a well-known reason of the API. A webhook can set any other reason, so others are not shown.
func statusReason(err error) string {
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
	return "(unknown reason)"
}

// describeNoResponse describes a request that got no response. A network error only describes the connection, so its
// text is shown; the text of any other error can contain the object.
func describeNoResponse(err error) string {
	var network *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no response in time"
	case errors.Is(err, context.Canceled):
		return "the request was canceled"
	case errors.As(err, &network):
		return "connection failed: " + network.Err.Error()
	}
	return fmt.Sprintf("error before a response arrived (%T)", err)
}

// Error is a failed request with a text that is safe to show. errors.Is and errors.As find the original error.
type Error struct {
	// Doing is the failed operation, as a gerund and its object: "writing Secret shop/out".
	Doing string
	cause error
}

// Wrap returns an Error for a failed request, or nil if err is nil. format and args give the operation.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Doing: fmt.Sprintf(format, args...), cause: err}
}

// Error implements error.
func (e *Error) Error() string {
	return e.Doing + ": the request to the API server failed: " + Describe(e.cause)
}

// Unwrap returns the original error. Its text must not be shown.
func (e *Error) Unwrap() error { return e.cause }

// IsWebhookDenied reports whether an admission webhook denied the request, with any status code, or calling one failed.
func IsWebhookDenied(err error) bool {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return false
	}
	message := answered.Status().Message
	return webhookDeniedPattern.MatchString(message) || webhookFailedPattern.MatchString(message)
}
