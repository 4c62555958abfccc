package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind says what went wrong, as far as anybody needs to know in order to decide what to do.
type Kind string

// The kinds. Bug is what an error is that nobody classified.
const (
	Bug             Kind = "Bug"             // impossible state
	Invalid         Kind = "Invalid"         // what the user wrote cannot work
	Malformed       Kind = "Malformed"       // the vault's content cannot be decoded
	NotFound        Kind = "NotFound"        // vault, object or version missing
	Disabled        Kind = "Disabled"        // disabled, not yet valid or expired
	Unauthenticated Kind = "Unauthenticated" // no credential, or a bad one
	Denied          Kind = "Denied"          // known, but not allowed: role, policy, firewall
	Throttled       Kind = "Throttled"       // too many requests
	Unavailable     Kind = "Unavailable"     // server error, DNS, TLS, timeout
	Conflict        Kind = "Conflict"        // the target belongs to somebody else or is immutable
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{Bug, Invalid, Malformed, NotFound, Disabled, Unauthenticated, Denied, Throttled, Unavailable,
		Conflict}
}

// Reason is the condition reason that users see for the kind, by the API conventions of Kubernetes.
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

// ExitCode is the process exit code of the injector for the kind, from sysexits.h.
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

// Transient says whether the same request may succeed a little later without anybody changing anything.
func (k Kind) Transient() bool { return k == Throttled || k == Unavailable }

// Error is a classified error. Its text is "Doing: Cause; Next". A caller that shows the next step apart takes CauseOf
// and NextOf.
type Error struct {
	// Kind is never empty in an error made by New or Wrap.
	Kind Kind
	// Doing is what failed, as a gerund and its object ("reading secret …").
	Doing string
	// Next tells the reader the next step; may be empty. Neither Doing nor Cause hold advice.
	Next string
	// RetryAfter is what the server asked for; zero if it did not.
	RetryAfter time.Duration
	// MayComeLater says that what is missing may be created a moment after whatever refers to it: an
	// AzureKeyVaultSecret.
	MayComeLater bool
	// Cause is wrapped; nil if Doing says it all. It must never quote a secret or a token.
	Cause error
}

// Error implements error. Advice of a cause comes last, after the whole of what went wrong.
func (e *Error) Error() string {
	text := CauseOf(e)
	if next := NextOf(e); next != "" {
		text += "; " + next
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of the kind without a cause; its text is made as fmt.Sprintf does.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Doing: fmt.Sprintf(format, args...)}
}

// Advise makes an error of the kind without a cause, with the next step in its own field; the text is made as
// fmt.Sprintf does.
func Advise(kind Kind, next, format string, args ...any) error {
	return &Error{Kind: kind, Doing: fmt.Sprintf(format, args...), Next: next}
}

// Wrap classifies a cause; doing says what failed, as a gerund and its object.
func Wrap(kind Kind, cause error, doing string) error {
	return &Error{Kind: kind, Doing: doing, Cause: cause}
}

// KindOf is the kind of the outermost classified error in the chain; Bug for an error that nobody classified, "" for
// nil.
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

// CauseOf is what went wrong, in words, without any advice.
func CauseOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // each link of the chain is taken apart in its turn
		switch cause := CauseOf(e.Cause); {
		case cause == "":
			return e.Doing
		case e.Doing == "":
			return cause
		default:
			return e.Doing + ": " + cause
		}
	}
	// What wraps an error quotes its whole text; the advice in it is taken out.
	text := err.Error()
	for _, inner := range unwrap(err) {
		text = strings.Replace(text, inner.Error(), CauseOf(inner), 1)
	}
	return text
}

// NextOf is the next step that an error or its cause gives; empty if there is none. Joined errors give theirs in turn.
func NextOf(err error) string {
	if e, ok := err.(*Error); ok && e.Next != "" { //nolint:errorlint // the outermost advice wins
		return e.Next
	}
	var steps []string
	for _, inner := range unwrap(err) {
		if next := NextOf(inner); next != "" && !slices.Contains(steps, next) {
			steps = append(steps, next)
		}
	}
	return strings.Join(steps, "; ")
}

// unwrap gives what an error wraps: one error, or several that were joined.
func unwrap(err error) []error {
	switch e := err.(type) { //nolint:errorlint // this is the walk that errors.As makes
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// RetryAfter is how long the server asked to wait; zero if it did not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// MayComeLater says whether any classified error in the chain is about something that may be created a moment later.
func MayComeLater(err error) bool {
	var e *Error
	for ; errors.As(err, &e); err = e.Cause {
		if e.MayComeLater {
			return true
		}
	}
	return false
}

// Both joins two errors. One that nobody classified stands alone: its text may hold anything, and in the company of a
// classified one it would be told to users, and not be retried as it has to be.
func Both(a, b error) error {
	switch {
	case KindOf(a) == Bug:
		return a
	case KindOf(b) == Bug:
		return b
	}
	return errors.Join(a, b)
}
