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

// FetchTimeout bounds one read of a vault, retries and token included.
const FetchTimeout = limits.VaultReadTime

// Patience is how long a reader should wait at least: longer than a call takes, so that he hears why it failed and not
// only that it took too long.
const Patience = FetchTimeout + 5*time.Second

// Config is what an installation says, or a pod that reads for itself.
type Config struct {
	// Auth is AUTH_TYPE.
	Auth string
	// CloudConfigFile is the path of azure.json, read if Auth is azureCloudConfig.
	CloudConfigFile string
	// ExtraCAs are certificate authorities to believe besides the public ones, PEM; may be empty.
	ExtraCAs []byte
	// Cloud is what cloud.Cloud.Setting gave, where AZURE_ENVIRONMENT says nothing; may be empty.
	Cloud string
	// Lookup reads an environment variable.
	Lookup func(string) (string, bool)
	// Keep is how long an answer stays in memory.
	Keep time.Duration
	// Limits bound the calls.
	Limits Limits
	// Fallbacks are vaults that are read while another one is not available.
	Fallbacks Fallbacks
	// Observer is told of calls and answers; may be nil.
	Observer Observer
}

// Gateway reads the vaults of a cloud.
type Gateway struct {
	*reader.Reader
	Cloud cloud.Cloud
	// Credential is the installation's, or the pod's.
	Credential azcore.TokenCredential

	tenants *tenants
	changed func(ref keyvault.Ref)
}

// Admit lets ServiceAccounts of tenants read as themselves; without it only the installation reads. It is called before
// the first read.
func (g *Gateway) Admit(accounts Accounts) { g.tenants.accounts = accounts }

// Notify says whom to tell of objects that a list shows to have changed. It is called before the first read.
func (g *Gateway) Notify(changed func(ref keyvault.Ref)) { g.changed = changed }

// tell passes such a change on.
func (g *Gateway) tell(ref keyvault.Ref) {
	if g.changed != nil {
		g.changed(ref)
	}
}

// Load reads the files and checks everything; it calls no vault.
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

// readFile reads a file of a credential, and no more of it than that one may have, and a byte by which it is seen to
// have more.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, limits.CredentialFileBytes+1))
}

// lookUpTime bounds the question whether the DNS knows another name.
const lookUpTime = 3 * time.Second

// resolves says whether the DNS knows a name.
func resolves(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	return err == nil && len(addresses) > 0
}

// ReadExtraCAs reads a file of certificate authorities; without a path there are none.
func ReadExtraCAs(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the extra CA certificates: %w; see the value global.extraCACertificates", err)
	}
	return content, nil
}

// cloud is what AZURE_ENVIRONMENT says, else the configuration, else azure.json.
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

// tenant is what AZURE_TENANT_ID says, else azure.json; empty if neither does.
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

// file is azure.json if it is used and can be read; that it can't be read is told by the credential, which needs it
// too.
func (c Config) file() (cloud.Config, error) {
	if credential.Mode(c.Auth) != credential.CloudConfig {
		return cloud.Config{}, nil
	}
	content, err := readFile(c.CloudConfigFile)
	if err != nil {
		// The credential reads the same file, and reports the error with the next step.
		return cloud.Config{}, nil //nolint:nilerr // reported by the credential
	}
	return cloud.ParseConfig(content)
}
