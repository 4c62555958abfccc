package gateway

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

// Patience is the shortest timeout that a caller should set. It is longer than FetchTimeout, so the caller receives the
// cause of a failure and not only a deadline error.
const Patience = FetchTimeout + 5*time.Second

// Config is the configuration of an installation, or of a pod that reads vaults itself.
type Config struct {
	// Auth is the value of AUTH_TYPE.
	Auth string
	// CloudConfigFile is the path of azure.json; required if Auth is azureCloudConfig.
	CloudConfigFile string
	// ExtraCAs are certificate authorities in PEM that are trusted in addition to the public ones; can be empty.
	ExtraCAs []byte
	// Cloud is the cloud as text, in the format of package cloud, used if AZURE_ENVIRONMENT is not set; can be empty.
	Cloud string
	// Lookup returns an environment variable.
	Lookup func(string) (string, bool)
	// Keep is how long a result stays in the cache.
	Keep time.Duration
	// Limits limits the rate of calls.
	Limits Limits
	// Fallbacks maps a vault to the vault that is read while it is unavailable.
	Fallbacks Fallbacks
	// Observer observes calls and reads; can be nil.
	Observer Observer
}

// Gateway reads vaults of one cloud.
type Gateway struct {
	*reader.Reader
	Cloud cloud.Cloud
	// Credential is the credential of the installation, or of the pod.
	Credential azcore.TokenCredential

	tenants *tenants
	changed func(ref keyvault.Ref)
}

// Admit enables reads with the ServiceAccounts of tenants. Without it, only the identity of the installation reads
// vaults. Call it before the first read.
func (g *Gateway) Admit(accounts Accounts) { g.tenants.accounts = accounts }

// Notify sets the function that is called for each object that a list shows as changed. Call it before the first read.
func (g *Gateway) Notify(changed func(ref keyvault.Ref)) { g.changed = changed }

// tell passes a changed object to the function that was set, if any.
func (g *Gateway) tell(ref keyvault.Ref) {
	if g.changed != nil {
		g.changed(ref)
	}
}

// Load builds a client: it reads the files and checks the configuration. It does not call a vault.
func Load(c Config) (*Gateway, error) {
	identity := credential.Config{Mode: credential.Mode(c.Auth), Lookup: c.Lookup, CloudConfigFile: c.CloudConfigFile,
		ReadFile: readFile, Clock: time.Now, Proxy: http.ProxyFromEnvironment}
	var err error
	if identity.Cloud, err = c.cloud(); err != nil {
		return nil, err
	}
	pool, err := trust.Pool(c.ExtraCAs)
	if err != nil {
		return nil, err
	}
	transport := trust.Client(pool)
	identity.Transport = transport
	token, err := credential.New(identity)
	if err != nil {
		return nil, err
	}
	pace, err := c.governor()
	if err != nil {
		return nil, err
	}
	shared := azure.Config{Credential: token, Cloud: identity.Cloud,
		Transport: governed{observed(transport, c.Observer), pace}, Clients: azure.NewClients(),
		Resolves: resolves, Proxy: http.ProxyFromEnvironment, Hint: identity.Hint()}
	installation, err := azure.New(shared)
	if err != nil {
		return nil, err
	}
	all := &tenants{installation: installation, config: shared, shared: identity, tenant: c.tenant(),
		known: map[keyvault.Identity]*tenant{}}
	g := &Gateway{Cloud: identity.Cloud, Credential: token, tenants: all}
	g.Reader, err = reader.New(reader.Config{Fetcher: all, Clock: time.Now, Parallel: limits.CallsPerIdentity,
		PerNamespace: limits.CallsPerNamespace, Timeout: FetchTimeout, Keep: c.Keep,
		Entries: limits.RememberedAnswers, Bytes: limits.RememberedBytes, Fallbacks: c.Fallbacks, Observer: c.Observer,
		Changed: g.tell})
	return g, err
}

// readFile reads a credential file up to its size limit plus one byte, so a caller can detect a file that is too large.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, limits.CredentialFileBytes+1))
}

// lookUpTime limits one DNS lookup.
const lookUpTime = 3 * time.Second

// resolves reports whether the DNS has an address for host.
func resolves(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
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

// cloud returns the cloud that AZURE_ENVIRONMENT names, else the one of the configuration, else the one in azure.json.
func (c Config) cloud() (cloud.Cloud, error) {
	name, _ := c.Lookup("AZURE_ENVIRONMENT")
	if name == "" && c.Cloud != "" {
		return cloud.ParseSetting(c.Cloud)
	}
	if name == "" {
		file, err := c.file()
		if err != nil {
			return cloud.Cloud{}, err
		}
		name = file.Cloud
	}
	if !cloud.IsCustom(name) {
		return cloud.Parse(name)
	}
	path, _ := c.Lookup("AZURE_ENVIRONMENT_FILEPATH")
	if path == "" {
		return cloud.Cloud{}, fault.Advise(fault.Invalid, "set the value global.customCloud",
			"the cloud is %s, but AZURE_ENVIRONMENT_FILEPATH is missing", cloud.CustomName)
	}
	content, err := readFile(path)
	if err != nil {
		return cloud.Cloud{}, &fault.Error{Kind: fault.Invalid, Doing: "reading the cloud's environment file",
			Cause: err,
			Next:  "set the value global.customCloud, or mount the file"}
	}
	return cloud.ParseCustom(content)
}

// tenant returns AZURE_TENANT_ID, else the tenant id in azure.json; empty if neither is set.
func (c Config) tenant() string {
	if name, _ := c.Lookup("AZURE_TENANT_ID"); name != "" {
		return name
	}
	file, err := c.file()
	if err != nil {
		return ""
	}
	return file.TenantID
}

// file returns the content of azure.json; zero if it is not used or can't be read.
func (c Config) file() (cloud.Config, error) {
	if credential.Mode(c.Auth) != credential.CloudConfig {
		return cloud.Config{}, nil
	}
	content, err := readFile(c.CloudConfigFile)
	if err != nil {
		// The credential reads the same file and reports the error with the next step.
		return cloud.Config{}, nil //nolint:nilerr // reported by the credential
	}
	return cloud.ParseConfig(content)
}
