package vaultclient

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/reader"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/trust"
)

// FetchTimeout limits one read of a vault, including retries and the request of a token.
const FetchTimeout = limits.VaultReadTime

// MinReadTimeout is the shortest timeout that a caller should set. It is longer than FetchTimeout, so the caller
// receives the cause of a failure and not only a deadline error.
const MinReadTimeout = FetchTimeout + 5*time.Second

// Config is the configuration of an installation, or of a pod that reads vaults itself.
type Config struct {
	// AuthType is the value of AUTH_TYPE.
	AuthType string
	// CloudConfigFile is the path of azure.json; required if Auth is azureCloudConfig.
	CloudConfigFile string
	// ExtraCAs are certificate authorities in PEM that are trusted in addition to the public ones; can be empty.
	ExtraCAs []byte
	// Cloud is the cloud as text, in the format of package cloud, used if AZURE_ENVIRONMENT is not set; can be empty.
	Cloud string
	// LookupEnv returns an environment variable.
	LookupEnv func(string) (string, bool)
	// CacheTTL is how long a result stays in the cache.
	CacheTTL time.Duration
	// RateLimits limits the rate of calls.
	RateLimits RateLimits
	// Fallbacks maps a vault to the vault that is read while it is unavailable.
	Fallbacks VaultFallbacks
	// Observer observes calls and reads; can be nil.
	Observer Observer
}

// Client reads vaults of one cloud.
type Client struct {
	*reader.Reader
	Cloud cloud.Cloud
	// Credential is the credential of the installation, or of the pod.
	Credential azcore.TokenCredential

	identities *identityFetcher
	onChange   func(ref keyvault.Ref)
}

// UseServiceAccounts enables reads with the ServiceAccounts of tenants. Without it, only the identity of the
// installation reads vaults. Call it before the first read.
func (g *Client) UseServiceAccounts(accounts ServiceAccounts) { g.identities.accounts = accounts }

// OnChange sets the function that is called for each object that a list shows as changed. Call it before the first
// read.
func (g *Client) OnChange(changed func(ref keyvault.Ref)) { g.onChange = changed }

// notifyChange passes a changed object to the function that was set, if any.
func (g *Client) notifyChange(ref keyvault.Ref) {
	if g.onChange != nil {
		g.onChange(ref)
	}
}

// New builds a client: it reads the files and checks the configuration. It does not call a vault.
func New(c Config) (*Client, error) {
	identity := credential.Config{Mode: credential.Mode(c.AuthType), LookupEnv: c.LookupEnv,
		CloudConfigFile: c.CloudConfigFile,
		ReadFile:        readCredentialFile, Clock: time.Now, Proxy: http.ProxyFromEnvironment}
	var err error
	if identity.Cloud, err = c.selectCloud(); err != nil {
		return nil, err
	}
	pool, err := trust.NewPool(c.ExtraCAs)
	if err != nil {
		return nil, err
	}
	transport := trust.NewHTTPClient(pool)
	identity.Transport = transport
	token, err := credential.New(identity)
	if err != nil {
		return nil, err
	}
	pace, err := c.newRateLimiter()
	if err != nil {
		return nil, err
	}
	shared := azure.Config{Credential: token, Cloud: identity.Cloud,
		Transport:   rateLimitedTransport{observeTransport(transport, c.Observer), pace},
		ClientCache: azure.NewClientCache(),
		CanResolve:  canResolveHost, Proxy: http.ProxyFromEnvironment, CredentialHint: identity.WorkloadIdentityHint()}
	installation, err := azure.New(shared)
	if err != nil {
		return nil, err
	}
	all := &identityFetcher{installation: installation, azureConfig: shared, credentialConfig: identity,
		defaultTenantID: c.tenantID(),
		fetchers:        map[keyvault.Identity]*cachedFetcher{}}
	g := &Client{Cloud: identity.Cloud, Credential: token, identities: all}
	g.Reader, err = reader.New(reader.Config{Fetcher: all, Clock: time.Now, MaxConcurrent: limits.CallsPerIdentity,
		MaxPerNamespace: limits.CallsPerNamespace, CallTimeout: FetchTimeout, CacheTTL: c.CacheTTL,
		CacheEntries: limits.CachedAnswers, CacheBytes: limits.CachedAnswerBytes, Fallbacks: c.Fallbacks,
		Observer: c.Observer,
		OnChange: g.notifyChange})
	return g, err
}

// readCredentialFile reads a credential file up to its size limit plus one byte, so a caller can detect a file that is
// too large.
func readCredentialFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, limits.CredentialFileBytes+1))
}

// dnsLookupTimeout limits one DNS lookup.
const dnsLookupTimeout = 3 * time.Second

// canResolveHost reports whether the DNS has an address for host.
func canResolveHost(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, dnsLookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	return err == nil && len(addresses) > 0
}

// ReadExtraCAs reads a file of certificate authorities; it returns nil for an empty path.
func ReadExtraCAs(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the extra CA certificates: %w; check the value global.extraCACertificates", err)
	}
	return content, nil
}

// selectCloud returns the cloud that AZURE_ENVIRONMENT names, else the one of the configuration, else the one in
// azure.json.
func (c Config) selectCloud() (cloud.Cloud, error) {
	name, _ := c.LookupEnv("AZURE_ENVIRONMENT")
	if name == "" && c.Cloud != "" {
		return cloud.ParseSetting(c.Cloud)
	}
	if name == "" {
		file, err := c.readCloudConfig()
		if err != nil {
			return cloud.Cloud{}, err
		}
		name = file.Cloud
	}
	if !cloud.IsCustom(name) {
		return cloud.Parse(name)
	}
	path, _ := c.LookupEnv("AZURE_ENVIRONMENT_FILEPATH")
	if path == "" {
		return cloud.Cloud{}, fault.NewWithNextStep(fault.Invalid, "set the value global.customCloud",
			"the cloud is %s, but AZURE_ENVIRONMENT_FILEPATH is missing", cloud.CustomCloudName)
	}
	content, err := readCredentialFile(path)
	if err != nil {
		return cloud.Cloud{}, &fault.Error{Kind: fault.Invalid, Operation: "reading the cloud's environment file",
			Cause: err,
			Next:  "set the value global.customCloud, or mount the file"}
	}
	return cloud.ParseCustom(content)
}

// tenantID returns AZURE_TENANT_ID, else the tenant id in azure.json; empty if neither is set.
func (c Config) tenantID() string {
	if name, _ := c.LookupEnv("AZURE_TENANT_ID"); name != "" {
		return name
	}
	file, err := c.readCloudConfig()
	if err != nil {
		return ""
	}
	return file.TenantID
}

// readCloudConfig returns the content of azure.json; zero if it is not used or can't be read.
func (c Config) readCloudConfig() (cloud.AzureJSON, error) {
	if credential.Mode(c.AuthType) != credential.ModeCloudConfig {
		return cloud.AzureJSON{}, nil
	}
	content, err := readCredentialFile(c.CloudConfigFile)
	if err != nil {
		// The credential reads the same file and reports the error with the next step.
		return cloud.AzureJSON{}, nil //nolint:nilerr // reported by the credential
	}
	return cloud.ParseAzureJSON(content)
}
