package fault

import (
	"errors"
	"fmt"
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
	return []Kind{Bug, Invalid, Malformed, NotFound, Disabled, Unauthenticated, Denied, Throttled, Unavailable, Conflict}
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
		Invalid: 64, Malformed: 65, NotFound: 66, Disabled: 66, Unauthenticated: 77, Denied: 77, Throttled: 75, Unavailable: 75,
	}
	if c, ok := codes[k]; ok {
		return c
	}
	return 70
}

// Transient says whether the same request may succeed a little later without anybody changing anything.
func (k Kind) Transient() bool { return k == Throttled || k == Unavailable }

// Error is a classified error. Its text is "Doing: Cause; Next".
type Error struct {
	// Kind is never empty in an error made by New or Wrap.
	Kind Kind
	// Doing is what failed, as a gerund and its object ("reading secret …").
	Doing string
	// Next tells the reader the next step; may be empty.
	Next string
	// RetryAfter is what the server asked for; zero if it did not.
	RetryAfter time.Duration
	// MayComeLater says that what is missing may be created a moment after whatever refers to it: an AzureKeyVaultSecret.
	MayComeLater bool
	// Cause is wrapped; nil if Doing says it all. It must never quote a secret or a token.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Doing
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.Next != "" {
		text += "; " + e.Next
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of the kind without a cause; its text is made as fmt.Sprintf does.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Doing: fmt.Sprintf(format, args...)}
}

// Wrap classifies a cause; doing says what failed, as a gerund and its object.
func Wrap(kind Kind, cause error, doing string) error {
	return &Error{Kind: kind, Doing: doing, Cause: cause}
}

// KindOf is the kind of the outermost classified error in the chain; Bug for an error that nobody classified, "" for nil.
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

// Both joins two errors. One that nobody classified stands alone: its text may hold anything, and in the company of a classified one it would be
// told to users, and not be retried as it has to be.
func Both(a, b error) error {
	switch {
	case KindOf(a) == Bug:
		return a
	case KindOf(b) == Bug:
		return b
	}
	return errors.Join(a, b)
}
