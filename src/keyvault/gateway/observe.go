package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
)

// Observer observes calls and reads. Its methods are called often and must return quickly.
type Observer interface {
	reader.Observer
	// Called is called after each request: with the name of the vault, the requested kind (empty for other paths), the
	// HTTP status (0 without a response), and the duration.
	Called(vault string, kind keyvault.Kind, status int, took time.Duration)
	// Waited is called with the time that a call waited in the queue of the rate limiter.
	Waited(vault string, p keyvault.Priority, waited time.Duration)
}

// observer reports the requests that pass through it.
type observer struct {
	policy.Transporter
	tell Observer
}

func observed(transport policy.Transporter, tell Observer) policy.Transporter {
	if tell == nil {
		return transport
	}
	return observer{transport, tell}
}

// Do implements policy.Transporter.
func (o observer) Do(request *http.Request) (*http.Response, error) {
	started := time.Now()
	response, err := o.Transporter.Do(request)
	status := 0
	if err == nil {
		status = response.StatusCode
	}
	o.tell.Called(vaultOf(request), kindOf(request.URL.Path), status, time.Since(started))
	return response, err
}

// kindOf returns the kind that a data-plane path requests: /secrets is the list, and a longer path is one object.
func kindOf(path string) keyvault.Kind {
	collection, name, _ := strings.Cut(strings.Trim(path, "/"), "/")
	kind := map[string]keyvault.Kind{"secrets": keyvault.KindSecret, "certificates": keyvault.KindCertificate,
		"keys": keyvault.KindKey}[collection]
	if name == "" {
		return kind.List()
	}
	return kind
}
