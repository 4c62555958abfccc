package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
)

// Mode is how the product authenticates: the chart's keyVaultAuth.
type Mode string

// The modes.
const (
	// CloudConfig is the identity of the cluster, as azure.json describes it.
	CloudConfig Mode = "azureCloudConfig"
	// Environment is an identity given by environment variables.
	Environment Mode = "environment"
	// DefaultChain is the SDK's own chain.
	DefaultChain Mode = "environment-azidentity"
)

// Config says which identity.
type Config struct {
	// Mode is required.
	Mode Mode
	// Cloud gives the authority.
	Cloud cloud.Cloud
	// CloudConfigFile is the path of azure.json; for CloudConfig.
	CloudConfigFile string
	// Lookup reads an environment variable; for Environment.
	Lookup func(name string) (value string, ok bool)
	// ReadFile reads azure.json, certificates and federated tokens. They are read again, so a rotated one is used
	// without a restart.
	ReadFile func(path string) ([]byte, error)
	// Transport carries the requests.
	Transport policy.Transporter
	// Clock tells the time.
	Clock func() time.Time
	// Proxy is the proxy by which a request goes, for messages; may be nil.
	Proxy func(*http.Request) (*url.URL, error)
}

// New makes the credential. It calls nobody. A configuration that can't work is fault.Invalid and names what is
// missing. Errors of the credential itself are classified: fault.Unauthenticated if Azure refuses, fault.Throttled,
// fault.Unavailable.
func New(c Config) (azcore.TokenCredential, error) {
	if c.Lookup == nil || c.ReadFile == nil || c.Clock == nil {
		return nil, errors.New("creating the credential: a part of its configuration is missing")
	}
	switch c.Mode {
	case CloudConfig:
		return c.reload(c.fromFile)
	case Environment:
		return c.reload(c.fromEnvironment)
	case DefaultChain:
		return c.defaultChain()
	}
	return nil, fault.Advise(fault.Invalid, fmt.Sprintf("use %s, %s or %s", CloudConfig, Environment, DefaultChain),
		"keyVaultAuth %q is not known", c.Mode)
}

// Federation is an application that trusts tokens of somebody else.
type Federation struct {
	// Tenant and Client are the application's ids.
	Tenant, Client string
	// Origin says in messages whose tokens they are.
	Origin string
	// Assertion gives such a token. Its errors are of package fault.
	Assertion func(context.Context) (string, error)
}

// Federated makes the application's credential. Of the configuration it needs the cloud and the transport.
func Federated(c Config, f Federation) (azcore.TokenCredential, error) {
	return c.federated(application{tenant: f.Tenant, client: f.Client, origin: f.Origin}, f.Assertion)
}

// options are the same for every credential, each with a transport of its own, which remembers the last answer. The
// SDK's own retries stay: they are bounded by the caller's deadline.
func (c Config) options() (azcore.ClientOptions, *heard) {
	listening := &heard{next: c.Transport, proxy: c.Proxy}
	return azcore.ClientOptions{
		Transport: listening,
		Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: c.Cloud.Authority},
	}, listening
}
