package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
)

// Observer is told what happens at the vaults. Its methods are called often and must be quick.
type Observer interface {
	reader.Observer
	// Called is told of a call: the vault's name, what was asked for (empty if it is nothing that the product reads),
	// the status that it answered (0 if it did not), and how long that took.
	Called(vault string, kind keyvault.Kind, status int, took time.Duration)
	// Waited is told how long a call waited for its turn.
	Waited(vault string, p keyvault.Priority, waited time.Duration)
}

// observer tells of the calls that go through it.
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

// kindOf is what a path of the data plane asks for: /secrets is the list, and what is longer is of one object.
func kindOf(path string) keyvault.Kind {
	collection, name, _ := strings.Cut(strings.Trim(path, "/"), "/")
	kind := map[string]keyvault.Kind{"secrets": keyvault.KindSecret, "certificates": keyvault.KindCertificate,
		"keys": keyvault.KindKey}[collection]
	if name == "" {
		return kind.List()
	}
	return kind
}
