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

// Accounts are ServiceAccounts of tenants, which read vaults as themselves. Errors are of package fault.
type Accounts interface {
	// Application is the tenant and the client id that stand for the account; the tenant may be empty.
	Application(ctx context.Context, who keyvault.Identity) (tenant, client string, err error)
	// Token is a token of the account for Azure.
	Token(ctx context.Context, who keyvault.Identity) (string, error)
}

// tenants reads each object as the identity that its Ref names: never as another, and as the installation only if it
// names none.
type tenants struct {
	installation *azure.Vaults
	// config is what all identities share; its Credential is not used.
	config azure.Config
	// shared is what their credentials share.
	shared credential.Config
	// tenant is the installation's, for accounts that name none.
	tenant string
	// accounts is nil if nobody but the installation reads.
	accounts Accounts

	mu    sync.Mutex
	known map[keyvault.Identity]*tenant
}

// tenant is one identity, as it was annotated.
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
		return keyvault.Object{}, fault.Advise(fault.Denied, "set the value identity.serviceAccounts",
			"%s may not be used", ref.As)
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
			"%s has no annotation azure.workload.identity/tenant-id, and the installation knows no tenant either",
			ref.As)
	}
	vaults, err := t.as(ref.As, directory, client)
	if err != nil {
		return keyvault.Object{}, err
	}
	return vaults.Fetch(ctx, ref)
}

// as gives the vaults of an identity. One that was annotated otherwise meanwhile begins anew.
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
