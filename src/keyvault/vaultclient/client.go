package vaultclient

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/breaker"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cloud"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/keyvault/fallback"
	"github.com/akv2k8s/akv2k8s/src/keyvault/refresh"
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

	// transport, clock and callTimeout are only set by tests. The clock is that of the steps above the rate limiter.
	transport   policy.Transporter
	clock       func() time.Time
	callTimeout time.Duration
}

// Client reads vaults of one cloud. It is safe for concurrent use.
type Client struct {
	Cloud cloud.Cloud
	// Credential is the credential of the installation, or of the pod.
	Credential azcore.TokenCredential

	identities *identityFetcher
	cache      *cache.Cache
	// vaults is the outermost step of a read.
	vaults   keyvault.Fetcher
	onChange func(ref keyvault.Ref)
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

// New builds a client: it reads the files and checks the configuration. It does not call a vault. It wraps these steps,
// each around the one before it:
//
//	azure → ratelimit → identity → breaker → fallback → cache → refresh
//
// A read passes them from refresh on, until one of them has the result.
func New(c Config) (*Client, error) {
	if c.callTimeout = cmp.Or(c.callTimeout, FetchTimeout); c.clock == nil {
		c.clock = time.Now
	}
	identity, err := c.newCredentialConfig()
	if err != nil {
		return nil, err
	}
	token, err := credential.New(identity)
	if err != nil {
		return nil, err
	}
	limiter, err := c.newRateLimiter()
	if err != nil {
		return nil, err
	}
	shared := azure.Config{Credential: token, Cloud: identity.Cloud, ClientCache: azure.NewClientCache(),
		Transport:  rateLimitedTransport{observeTransport(identity.Transport, c.Observer), limiter},
		CanResolve: canResolveHost, Proxy: http.ProxyFromEnvironment, CredentialHint: identity.WorkloadIdentityHint()}
	installation, err := azure.New(shared)
	if err != nil {
		return nil, err
	}
	g := &Client{Cloud: identity.Cloud, Credential: token}
	g.identities = &identityFetcher{installation: installation, azureConfig: shared, credentialConfig: identity,
		defaultTenantID: c.tenantID(), fetchers: map[keyvault.Identity]*cachedFetcher{}}
	guarded, err := breaker.New(g.identities, breaker.Config{Clock: c.clock, MaxConcurrent: limits.CallsPerIdentity,
		MaxPerNamespace: limits.CallsPerNamespace, CallTimeout: c.callTimeout})
	if err != nil {
		return nil, err
	}
	withFallback := fallback.New(guarded, c.Fallbacks, c.callTimeout)
	g.cache, err = cache.New(withFallback, cache.Config{Clock: c.clock, CallTimeout: c.callTimeout, TTL: c.CacheTTL,
		Entries: limits.CachedAnswers, Bytes: limits.CachedAnswerBytes})
	if err != nil {
		return nil, err
	}
	g.vaults, err = refresh.New(g.cache, refresh.Config{Clock: c.clock, Observer: c.Observer, OnChange: g.notifyChange})
	return g, err
}

// Read returns the object as the vault had it at most maxAge ago; with maxAge 0 it always calls the vault. The Purpose
// of ctx sets namespace, priority and refresh interval.
func (g *Client) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	purpose := keyvault.PurposeOf(ctx)
	purpose.MaxAge = maxAge
	return g.vaults.Fetch(keyvault.WithPurpose(ctx, purpose), ref)
}

// IsDeleted reports whether an object was deleted and can be recovered. An error means that the identity can't find
// out. It passes none of the steps of a read but the rate limiter.
func (g *Client) IsDeleted(ctx context.Context, ref keyvault.Ref) (bool, error) {
	vaults, err := g.identities.fetcherOf(ctx, ref.Identity)
	if err != nil {
		return false, err
	}
	return vaults.IsDeleted(ctx, ref)
}

// LastGood returns the last successful result if it is not older than age. It serves while a vault is unavailable.
func (g *Client) LastGood(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool) {
	return g.cache.LastGood(ref, age)
}

// newCredentialConfig returns the configuration of the installation's credential, with the cloud and the transport.
func (c Config) newCredentialConfig() (credential.Config, error) {
	identity := credential.Config{Mode: credential.Mode(c.AuthType), LookupEnv: c.LookupEnv,
		CloudConfigFile: c.CloudConfigFile, ReadFile: readCredentialFile, Clock: time.Now,
		Proxy: http.ProxyFromEnvironment, Transport: c.transport}
	var err error
	if identity.Cloud, err = c.selectCloud(); err != nil {
		return credential.Config{}, err
	}
	pool, err := trust.NewPool(c.ExtraCAs)
	if err != nil {
		return credential.Config{}, err
	}
	if identity.Transport == nil {
		identity.Transport = trust.NewHTTPClient(pool)
	}
	return identity, nil
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
