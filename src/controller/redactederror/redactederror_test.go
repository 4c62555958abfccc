package redactederror_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
)

// canary contains every character that an encoding changes.
const canary = "Q7<&>\"'\n\\ü%9z"

// forms returns encodings of the canary, whole and in part.
func forms(t *testing.T) []string {
	t.Helper()
	inJSON, err := json.Marshal(canary)
	require.NoError(t, err)
	return []string{canary, string(inJSON), strconv.Quote(canary), strconv.QuoteToASCII(canary), url.QueryEscape(canary),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)), hex.EncodeToString([]byte(canary)),
		strings.ToUpper(hex.EncodeToString([]byte(canary))), canary[:4], canary[len(canary)-2:], fmt.Sprintf("%d", []byte(canary))}
}

func status(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: message, Message: message}}}}}
}

func TestNoFormOfADataValueIsPassedOn(t *testing.T) {
	for _, form := range forms(t) {
		for name, c := range map[string]struct {
			err  error
			says string
		}{
			"a webhook": {status(403, metav1.StatusReason(form), `admission webhook "no.example.org" denied the request: `+form), `admission webhook "no.example.org" denied the request`},
			"a webhook with a code of its own": {status(418, "", `admission webhook "no.example.org" denied the request: `+form),
				`admission webhook "no.example.org" denied the request`},
			"a webhook that plays the quota": {status(403, metav1.StatusReasonForbidden, `admission webhook "no.example.org" denied the request: secrets "out" is forbidden: exceeded quota: `+form+`, requested: `),
				`admission webhook "no.example.org" denied the request`},
			"a webhook that answers badly": {status(500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "no.example.org": `+form),
				`calling admission webhook "no.example.org" failed`},
			"a policy": {status(422, metav1.StatusReasonInvalid, `secrets "out" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: `+form),
				`ValidatingAdmissionPolicy "p" (binding "b") denied the request`},
			"a quota":            {status(403, metav1.StatusReasonForbidden, `secrets "out" is forbidden: exceeded quota: q, requested: secrets=1`+form), `ResourceQuota "q" is exceeded`},
			"a validation":       {status(422, metav1.StatusReasonInvalid, `Secret "out" is invalid: data[.dockerconfigjson]: Invalid value: "`+form+`": no JSON`), `field "data[.dockerconfigjson]" is invalid`},
			"an unknown refusal": {status(403, metav1.StatusReasonForbidden, form), "403 Forbidden"},
			"a reason of theirs": {status(499, metav1.StatusReason(form), form), "HTTP status 499 (unknown reason)"},
			"RBAC": {status(403, metav1.StatusReasonForbidden, `secrets "out" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "secrets" in API group "" in the namespace "shop"`+form),
				"no permission to patch the object"},
			"an error that is no answer": {errors.New(form), "before a response arrived"},
		} {
			text := redactederror.Describe(c.err)
			assert.Contains(t, text, c.says, name)
			assert.NotContains(t, text, form, name)
			wrapped := redactederror.Wrap(c.err, "writing Secret %s", "shop/out")
			assert.NotContains(t, fmt.Sprintf("%v %s %q", wrapped, wrapped, wrapped), form, name)
			assert.ErrorIs(t, wrapped, c.err)
		}
	}
}

func TestWhatTheAPIServerSaysItselfIsDescribed(t *testing.T) {
	terminating := &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "NamespaceTerminating"}}}}}
	for want, err := range map[string]error{
		"the namespace is being deleted":        terminating,
		"the object is too large":               apierrors.NewRequestEntityTooLargeError("x"),
		"HTTP status 409 Conflict":              apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "out", errors.New("x")),
		"HTTP status 429 TooManyRequests":       apierrors.NewTooManyRequests("x", 1),
		"no response in time":                   fmt.Errorf("x: %w", context.DeadlineExceeded),
		"the request was canceled":              context.Canceled,
		"connection failed: connection refused": &url.Error{Op: "Patch", URL: "https://x", Err: errors.New("connection refused")},
		`HTTP status 504 Timeout`:               apierrors.NewTimeoutError("x", 1),
		`HTTP status 500 InternalError`:         apierrors.NewInternalError(errors.New("x")),
		`HTTP status 401 Unauthorized`:          apierrors.NewUnauthorized("x"),
	} {
		assert.Equal(t, want, redactederror.Describe(err))
	}
	assert.NoError(t, redactederror.Wrap(nil, "x"))
}

func TestADenialIsRecognisedWhateverItsCode(t *testing.T) {
	assert.True(t, redactederror.IsWebhookDenied(status(418, "", `admission webhook "w" denied the request: x`)))
	assert.True(t, redactederror.IsWebhookDenied(status(500, "", `Internal error occurred: failed calling webhook "w": x`)))
	assert.False(t, redactederror.IsWebhookDenied(status(500, "", "etcd is away")))
	assert.False(t, redactederror.IsWebhookDenied(errors.New(`admission webhook "w" denied the request: x`)))
}

func TestANameThatIsTakenOutOfAMessageIsBounded(t *testing.T) {
	long := strings.Repeat("q", 300)
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "out", errors.New("exceeded quota: "+long+", requested: secrets=1"))
	said := redactederror.Describe(err)
	assert.Equal(t, `ResourceQuota "`+long[:253]+`" is exceeded`, said)
}
