package vaultclient

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// wire is a function that implements policy.Transporter.
type wire func(*http.Request) (*http.Response, error)

func (w wire) Do(r *http.Request) (*http.Response, error) { return w(r) }

// told is an Observer that records calls.
type told struct {
	Observer
	calls []string
}

func (o *told) RecordCall(vault string, kind keyvault.Kind, status int, took time.Duration) {
	o.calls = append(o.calls, fmt.Sprintf("%s %q %s", vault, kind, http.StatusText(status)))
	if took < 0 {
		o.calls = append(o.calls, "before it began")
	}
}

func TestCallsOfVaultsAreToldWithTheirOutcome(t *testing.T) {
	tell := &told{}
	next := wire(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/away" {
			return nil, errors.New("away")
		}
		return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody}, nil
	})
	_, tells := observeTransport(next, nil).(observingTransport)
	assert.False(t, tells, "there may be nobody to tell")
	transport := observeTransport(next, tell)
	for _, path := range []string{"/secrets/a/", "/certificates/a/0123", "/keys/a", "/secrets", "/certificates/", "/keys", "/away"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://kv1.vault.azure.net:443"+path, http.NoBody)
		require.NoError(t, err)
		response, err := transport.Do(request)
		assert.Equal(t, path == "/away", err != nil)
		if err == nil {
			require.NoError(t, response.Body.Close())
		}
	}
	assert.Equal(t, []string{`kv1 "secret" Forbidden`, `kv1 "certificate" Forbidden`, `kv1 "key" Forbidden`,
		`kv1 "secret list" Forbidden`, `kv1 "certificate list" Forbidden`, `kv1 "key list" Forbidden`, `kv1 "" `}, tell.calls)
}
