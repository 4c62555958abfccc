package credential

import (
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

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
	// File is azure.json, parsed; for CloudConfig.
	File cloud.Config
	// Lookup reads an environment variable; for Environment.
	Lookup func(name string) (value string, ok bool)
	// Transport carries the requests.
	Transport policy.Transporter
}

// New makes the credential. It calls nobody. A configuration that can't work is fault.Invalid and names what is missing. Errors of
// the credential itself are classified: fault.Unauthenticated if Azure refuses, fault.Throttled, fault.Unavailable.
func New(c Config) (azcore.TokenCredential, error) {
	switch c.Mode {
	case CloudConfig:
		return c.fromFile()
	case Environment:
		return c.fromEnvironment()
	case DefaultChain:
		return nil, fault.New(fault.Invalid, "keyVaultAuth %s is not supported by this version yet; use %s or %s", DefaultChain, CloudConfig, Environment)
	}
	return nil, fault.New(fault.Invalid, "keyVaultAuth %q is not known; use %s, %s or %s", c.Mode, CloudConfig, Environment, DefaultChain)
}

// options are the same for every credential. The SDK's own retries stay: they are bounded by the caller's deadline.
func (c Config) options() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: c.Transport,
		Cloud:     azcloud.Configuration{ActiveDirectoryAuthorityHost: c.Cloud.Authority},
	}
}

func (c Config) fromFile() (azcore.TokenCredential, error) {
	if c.File.ManagedIdentity() {
		return c.managedIdentity(c.File.UserAssignedIdentityID)
	}
	missing := []string{}
	for _, field := range [][2]string{{"tenantId", c.File.TenantID}, {"aadClientId", c.File.ClientID}, {"aadClientSecret", c.File.ClientSecret}} {
		if field[1] == "" {
			missing = append(missing, field[0])
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.Invalid, "azure.json describes no identity that this version can use: useManagedIdentityExtension is off and "+
			"%s missing; set keyVaultAuth to environment and give credentials of your own", list(missing))
	}
	return c.clientSecret(c.File.TenantID, c.File.ClientID, c.File.ClientSecret)
}

func (c Config) fromEnvironment() (azcore.TokenCredential, error) {
	const tenant, client, secret = "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"
	get := func(name string) string { value, _ := c.Lookup(name); return value }
	for _, name := range []string{"AZURE_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME", "AZURE_FEDERATED_TOKEN_FILE"} {
		if get(name) != "" && get(secret) == "" {
			return nil, fault.New(fault.Invalid, "%s is set, but its method is not supported by this version yet; set %s, %s and %s",
				name, tenant, client, secret)
		}
	}
	if get(secret) == "" && get(tenant) == "" {
		return c.managedIdentity(get(client))
	}
	var missing []string
	for _, name := range []string{tenant, client, secret} {
		if get(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.Invalid, "the credentials in the environment are half set: %s missing; "+
			"set all of %s, %s and %s, or none for a managed identity", list(missing), tenant, client, secret)
	}
	return c.clientSecret(get(tenant), get(client), get(secret))
}

func list(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

func (c Config) clientSecret(tenant, client, secret string) (azcore.TokenCredential, error) {
	credential, err := azidentity.NewClientSecretCredential(tenant, client, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: c.options()})
	if err != nil {
		return nil, fault.New(fault.Invalid, "the tenant id %q or the client id is not valid; use the UUIDs that the portal shows", tenant)
	}
	return &classified{credential, "client " + client + " of tenant " + tenant}, nil
}

// managedIdentity is user-assigned if an id is given (a client id, or a resource id, which is a path), else system-assigned.
func (c Config) managedIdentity(id string) (azcore.TokenCredential, error) {
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: c.options()}
	who := "the system-assigned managed identity"
	switch {
	case strings.HasPrefix(id, "/"):
		options.ID, who = azidentity.ResourceID(id), "the managed identity "+id
	case id != "":
		options.ID, who = azidentity.ClientID(id), "the managed identity with client id "+id
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s can't be used here; check the environment variables of other identity providers", who)
	}
	return &classified{credential, who}, nil
}
