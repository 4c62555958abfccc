package credential

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
)

// Mode is the authentication method: the value keyVaultAuth of the chart.
type Mode string

// The modes.
const (
	// ModeCloudConfig selects the identity of the cluster in azure.json.
	ModeCloudConfig Mode = "azureCloudConfig"
	// ModeEnvironment selects the identity that environment variables describe.
	ModeEnvironment Mode = "environment"
	// ModeDefaultChain selects the default credential chain of the Azure SDK.
	ModeDefaultChain Mode = "environment-azidentity"
)

// Config selects and configures the credential.
type Config struct {
	// Mode is required.
	Mode Mode
	// Cloud provides the authority.
	Cloud cloud.Cloud
	// CloudConfigFile is the path of azure.json; used by ModeCloudConfig.
	CloudConfigFile string
	// LookupEnv returns an environment variable; used by ModeEnvironment.
	LookupEnv func(name string) (value string, ok bool)
	// ReadFile reads azure.json, certificates and federated tokens. The files are read again, so a rotated file takes
	// effect without a restart.
	ReadFile func(path string) ([]byte, error)
	// Transport sends the requests.
	Transport policy.Transporter
	// Clock returns the current time.
	Clock func() time.Time
	// Proxy returns the proxy of a request, for messages; can be nil.
	Proxy func(*http.Request) (*url.URL, error)
}

// New creates the credential without a network call. An invalid configuration is fault.Invalid, and the error names the
// missing setting. GetToken of the credential returns classified errors: fault.Unauthenticated if Microsoft Entra ID
// rejects the identity, else fault.Throttled or fault.Unavailable.
func New(c Config) (azcore.TokenCredential, error) {
	if c.LookupEnv == nil || c.ReadFile == nil || c.Clock == nil {
		return nil, errors.New("creating the credential: Config.LookupEnv, ReadFile and Clock are required")
	}
	for _, method := range methods() {
		if method.mode == c.Mode {
			return method.create(c)
		}
	}
	return nil, fault.NewWithNextStep(fault.Invalid, "use "+joinModes(Modes()), "keyVaultAuth %q is not known", c.Mode)
}

// method is an authentication method: how its credential is created.
type method struct {
	mode   Mode
	create func(Config) (azcore.TokenCredential, error)
}

// methods is the registry of the authentication methods, in the order of messages.
func methods() []method {
	return []method{
		{ModeCloudConfig, func(c Config) (azcore.TokenCredential, error) {
			return c.newReloadingCredential(c.fromCloudConfig)
		}},
		{ModeEnvironment, func(c Config) (azcore.TokenCredential, error) {
			return c.newReloadingCredential(c.fromEnvironment)
		}},
		{ModeDefaultChain, Config.defaultChainCredential},
	}
}

// Modes returns all modes.
func Modes() []Mode {
	var all []Mode
	for _, method := range methods() {
		all = append(all, method.mode)
	}
	return all
}

// joinModes joins modes for messages, the last one with "or".
func joinModes(modes []Mode) string {
	text := string(modes[0])
	for _, mode := range modes[1 : len(modes)-1] {
		text += ", " + string(mode)
	}
	return text + " or " + string(modes[len(modes)-1])
}

// FederatedApplication describes an application that trusts the tokens of another issuer.
type FederatedApplication struct {
	// TenantID and ClientID identify the application.
	TenantID, ClientID string
	// Subject describes the subject of the tokens, for messages.
	Subject string
	// GetAssertion returns a token of the subject. Its errors are of package fault.
	GetAssertion func(context.Context) (string, error)
}

// NewFederated creates the credential of an application that exchanges tokens of another issuer. It uses Cloud,
// Transport and Proxy of the configuration.
func NewFederated(c Config, f FederatedApplication) (azcore.TokenCredential, error) {
	return c.federatedCredential(application{tenantID: f.TenantID, clientID: f.ClientID, source: f.Subject},
		f.GetAssertion)
}

// clientOptions returns the client options of a credential and its transport. Each credential has its own transport,
// because the transport records the last response. Retries of the SDK stay enabled; the deadline of the caller limits
// them.
func (c Config) clientOptions() (azcore.ClientOptions, *recordingTransport) {
	listening := &recordingTransport{next: c.Transport, proxy: c.Proxy}
	return azcore.ClientOptions{
		Transport: listening,
		Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: c.Cloud.Authority},
	}, listening
}
