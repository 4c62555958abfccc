package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is the class of an error. It determines retries, condition reason and exit code.
type Kind string

// The kinds. An error that is not classified is a Bug.
const (
	Bug             Kind = "Bug"             // impossible state
	Invalid         Kind = "Invalid"         // the user's input cannot work
	Malformed       Kind = "Malformed"       // the vault's content cannot be decoded
	NotFound        Kind = "NotFound"        // vault, object or version missing
	Disabled        Kind = "Disabled"        // disabled, not yet valid or expired
	Unauthenticated Kind = "Unauthenticated" // no credential, or a bad one
	Denied          Kind = "Denied"          // known, but not allowed: role, policy, firewall
	Throttled       Kind = "Throttled"       // too many requests
	Unavailable     Kind = "Unavailable"     // server error, DNS, TLS, timeout
	Conflict        Kind = "Conflict"        // the output belongs to another owner or is immutable
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{Bug, Invalid, Malformed, NotFound, Disabled, Unauthenticated, Denied, Throttled, Unavailable,
		Conflict}
}

// Reason returns the condition reason of the kind, in the form of the Kubernetes API conventions.
func (k Kind) Reason() string {
	reasons := map[Kind]string{
		Invalid: "InvalidSpec", Malformed: "MalformedObject", NotFound: "ObjectNotFound", Disabled: "ObjectDisabled",
		Unauthenticated: "AuthenticationFailed", Denied: "AccessDenied", Throttled: "Throttled",
		Unavailable: "VaultUnavailable", Conflict: "TargetConflict",
	}
	if r, ok := reasons[k]; ok {
		return r
	}
	return "InternalError"
}

// BeginsWithReason reports whether a text begins with the reason of a kind and a colon, as the termination messages of
// the injector.
func BeginsWithReason(text string) bool {
	return slices.ContainsFunc(Kinds(), func(k Kind) bool { return strings.HasPrefix(text, k.Reason()+": ") })
}

// ExitCode returns the exit code of the injector for the kind, from sysexits.h.
func (k Kind) ExitCode() int {
	codes := map[Kind]int{
		Invalid: 64, Malformed: 65, NotFound: 66, Disabled: 66, Unauthenticated: 77, Denied: 77, Throttled: 75,
		Unavailable: 75,
	}
	if c, ok := codes[k]; ok {
		return c
	}
	return 70
}

// IsTransient reports whether the same request can succeed a little later without any change.
func (k Kind) IsTransient() bool { return k == Throttled || k == Unavailable }

// Error is a classified error. Its text is "Doing: Cause; Next". A caller that shows the next step separately uses
// CauseOf and NextStepOf.
type Error struct {
	// Kind is not empty in an error of New, Advise or Wrap.
	Kind Kind
	// Operation is the operation that failed, as a gerund and its object ("reading secret …").
	Operation string
	// Next is the next step for the user; it can be empty. Doing and Cause contain no advice.
	Next string
	// RetryAfter is the wait that the server requested; zero if it requested none.
	RetryAfter time.Duration
	// CanAppearLater is true if a missing object can still be created after the object that refers to it: an
	// AzureKeyVaultSecret can be created after the pod.
	CanAppearLater bool
	// Cause is the wrapped error; nil if Doing is the whole error. It must never quote a secret or a token.
	Cause error
}

// Error implements error. The next steps, also those of causes, follow all causes.
func (e *Error) Error() string {
	text := CauseOf(e)
	if next := NextStepOf(e); next != "" {
		text += "; " + next
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error of the kind without a cause. format and args are those of fmt.Sprintf.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Operation: fmt.Sprintf(format, args...)}
}

// NewWithNextStep returns an error of the kind with a next step and without a cause. format and args are those of
// fmt.Sprintf.
func NewWithNextStep(kind Kind, next, format string, args ...any) error {
	return &Error{Kind: kind, Operation: fmt.Sprintf(format, args...), Next: next}
}

// Wrap classifies a cause. doing is the operation that failed, as a gerund and its object.
func Wrap(kind Kind, cause error, doing string) error {
	return &Error{Kind: kind, Operation: doing, Cause: cause}
}

// KindOf returns the kind of the outermost classified error in the chain; Bug for an error that is not classified, and
// "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Bug
}

// CauseOf returns the text of an error without next steps.
func CauseOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // the recursion handles the rest of the chain
		switch cause := CauseOf(e.Cause); {
		case cause == "":
			return e.Operation
		case e.Operation == "":
			return cause
		default:
			return e.Operation + ": " + cause
		}
	}
	// An error that wraps another quotes its whole text, from which the next steps are removed.
	text := err.Error()
	for _, inner := range wrappedErrors(err) {
		text = strings.Replace(text, inner.Error(), CauseOf(inner), 1)
	}
	return text
}

// NextStepOf returns the next step of an error or of its cause; empty if there is none. Joined errors contribute one
// each.
func NextStepOf(err error) string {
	if e, ok := err.(*Error); ok && e.Next != "" { //nolint:errorlint // the outermost next step wins
		return e.Next
	}
	var steps []string
	for _, inner := range wrappedErrors(err) {
		if next := NextStepOf(inner); next != "" && !slices.Contains(steps, next) {
			steps = append(steps, next)
		}
	}
	return strings.Join(steps, "; ")
}

// wrappedErrors returns the wrapped errors: one, or several that were joined.
func wrappedErrors(err error) []error {
	switch e := err.(type) { //nolint:errorlint // this unwraps as errors.As does
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// RetryAfter returns the wait that the server requested; zero if it requested none.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// CanAppearLater reports whether any classified error in the chain is about an object that can still be created.
func CanAppearLater(err error) bool {
	var e *Error
	for ; errors.As(err, &e); err = e.Cause {
		if e.CanAppearLater {
			return true
		}
	}
	return false
}

// Join joins two errors. It returns an error that is not classified alone: its text can contain anything, and joined
// with a classified error it would be shown to users and not be retried.
func Join(a, b error) error {
	switch {
	case KindOf(a) == Bug:
		return a
	case KindOf(b) == Bug:
		return b
	}
	return errors.Join(a, b)
}
