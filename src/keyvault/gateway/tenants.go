package gateway

import (
	"context"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Accounts provides the Azure identities of ServiceAccounts. Errors are of package fault.
type Accounts interface {
	// Application returns the tenant id and the client id of the account's application; the tenant id can be empty.
	Application(ctx context.Context, who keyvault.Identity) (tenant, client string, err error)
	// Token returns a token of the account for the token exchange of Microsoft Entra ID.
	Token(ctx context.Context, who keyvault.Identity) (string, error)
}

// tenants reads each object with the identity in its Ref. It uses the identity of the installation only if the Ref has
// no other identity.
type tenants struct {
	installation *azure.Vaults
	// config is the configuration that all identities share; its Credential is not used.
	config azure.Config
	// shared is the configuration that the credentials of all accounts share.
	shared credential.Config
	// tenant is the tenant id of the installation, for accounts without a tenant annotation.
	tenant string
	// accounts is nil if only the installation reads.
	accounts Accounts

	mu    sync.Mutex
	known map[keyvault.Identity]*tenant
}

// tenant is the client of one identity and the annotations it was created from.
type tenant struct {
	directory, client string
	vaults            *azure.Vaults
}

// Fetch implements reader.Fetcher.
func (t *tenants) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.As == (keyvault.Identity{}) {
		return t.installation.Fetch(ctx, ref)
	}
	if t.accounts == nil {
		return keyvault.Object{}, fault.Advise(fault.Denied, "add it to the value identity.serviceAccounts",
			"the installation is not allowed to use %s", ref.As)
	}
	directory, client, err := t.accounts.Application(ctx, ref.As)
	if err != nil {
		return keyvault.Object{}, err
	}
	if directory == "" {
		directory = t.tenant
	}
	if directory == "" {
		return keyvault.Object{}, fault.Advise(fault.Unauthenticated,
			"annotate it with the tenant id of the application",
			"%s has no annotation azure.workload.identity/tenant-id, and the installation has no default tenant",
			ref.As)
	}
	vaults, err := t.as(ref.As, directory, client)
	if err != nil {
		return keyvault.Object{}, err
	}
	return vaults.Fetch(ctx, ref)
}

// as returns the client of an identity. It creates a new client if the annotations changed.
func (t *tenants) as(who keyvault.Identity, directory, client string) (*azure.Vaults, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.known[who]; ok && known.directory == directory && known.client == client {
		return known.vaults, nil
	}
	config := t.config
	config.Hint = ""
	var err error
	config.Credential, err = credential.Federated(t.shared,
		credential.Federation{Tenant: directory, Client: client, Origin: who.String(),
			Assertion: func(ctx context.Context) (string, error) { return t.accounts.Token(ctx, who) }})
	if err != nil {
		return nil, err
	}
	vaults, err := azure.New(config)
	if err != nil {
		return nil, err
	}
	for other := range t.known {
		if len(t.known) < limits.ReadIdentities {
			break
		}
		delete(t.known, other)
	}
	t.known[who] = &tenant{directory: directory, client: client, vaults: vaults}
	return vaults, nil
}
