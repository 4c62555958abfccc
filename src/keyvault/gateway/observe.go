package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Observe is told of a call: the vault's name, the status that it answered (0 if it did not), and how long that took.
type Observe func(vault string, status int, took time.Duration)

// observer tells of the calls that go through it.
type observer struct {
	policy.Transporter
	tell Observe
}

func observed(transport policy.Transporter, tell Observe) policy.Transporter {
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
	vault, _, _ := strings.Cut(request.URL.Hostname(), ".")
	o.tell(vault, status, time.Since(started))
	return response, err
}
