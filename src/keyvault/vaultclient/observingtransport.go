package vaultclient

import (
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
)

// Observer observes calls and reads. Its methods are called often and must return quickly.
type Observer interface {
	refresh.Observer
	// RecordCall is called after each request: with the name of the vault, the requested kind (empty for other paths),
	// the HTTP status (0 without a response), and the duration.
	RecordCall(vault string, kind keyvault.Kind, status int, took time.Duration)
	// RecordWait is called with the time that a call waited in the queue of the rate limiter.
	RecordWait(vault string, p keyvault.Priority, waited time.Duration)
}

// observingTransport reports the requests that pass through it.
type observingTransport struct {
	policy.Transporter
	observer Observer
}

func observeTransport(transport policy.Transporter, tell Observer) policy.Transporter {
	if tell == nil {
		return transport
	}
	return observingTransport{transport, tell}
}

// Do implements policy.Transporter.
func (o observingTransport) Do(request *http.Request) (*http.Response, error) {
	started := time.Now()
	response, err := o.Transporter.Do(request)
	status := 0
	if err == nil {
		status = response.StatusCode
	}
	o.observer.RecordCall(vaultNameOf(request), kindOfPath(request.URL.Path), status, time.Since(started))
	return response, err
}

// kindOfPath returns the kind that a data-plane path requests: /secrets is the list, and a longer path is one object.
func kindOfPath(path string) keyvault.Kind {
	collection, name, _ := strings.Cut(strings.Trim(path, "/"), "/")
	kind := keyvault.KindOfCollection(collection)
	if name == "" {
		return kind.ListKind()
	}
	return kind
}
