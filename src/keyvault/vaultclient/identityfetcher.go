package vaultclient

import (
	"context"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/azure"
	"github.com/akv2k8s/akv2k8s/src/keyvault/credential"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// ServiceAccounts provides the Azure identities of ServiceAccounts. Errors are of package fault.
type ServiceAccounts interface {
	// ApplicationIDs returns the tenant id and the client id of the account's application; the tenant id can be empty.
	ApplicationIDs(ctx context.Context, who keyvault.Identity) (tenant, client string, err error)
	// Token returns a token of the account for the token exchange of Microsoft Entra ID.
	Token(ctx context.Context, who keyvault.Identity) (string, error)
}

// identityFetcher reads each object with the identity in its Ref. It uses the identity of the installation only if the
// Ref has no other identity.
type identityFetcher struct {
	installation *azure.Fetcher
	// azureConfig is the configuration that all identities share; its Credential is not used.
	azureConfig azure.Config
	// credentialConfig is the configuration that the credentials of all accounts share.
	credentialConfig credential.Config
	// defaultTenantID is the tenant id of the installation, for accounts without a tenant annotation.
	defaultTenantID string
	// accounts is nil if only the installation reads.
	accounts ServiceAccounts

	mu       sync.Mutex
	fetchers map[keyvault.Identity]*cachedFetcher
}

var _ keyvault.Fetcher = (*identityFetcher)(nil)

// cachedFetcher is the client of one identity and the annotations it was created from.
type cachedFetcher struct {
	tenantID, clientID string
	fetcher            *azure.Fetcher
}

// Fetch implements keyvault.Fetcher.
func (t *identityFetcher) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	vaults, err := t.fetcherOf(ctx, ref.Identity)
	if err != nil {
		return keyvault.Object{}, err
	}
	return vaults.Fetch(ctx, ref)
}

// fetcherOf returns the client of an identity.
func (t *identityFetcher) fetcherOf(ctx context.Context, who keyvault.Identity) (*azure.Fetcher, error) {
	if who == (keyvault.Identity{}) {
		return t.installation, nil
	}
	if t.accounts == nil {
		return nil, fault.NewWithNextStep(fault.Denied, "add it to the value identity.serviceAccounts",
			"the installation is not allowed to use %s", who)
	}
	directory, client, err := t.accounts.ApplicationIDs(ctx, who)
	if err != nil {
		return nil, err
	}
	if directory == "" {
		directory = t.defaultTenantID
	}
	if directory == "" {
		return nil, fault.NewWithNextStep(fault.Unauthenticated,
			"annotate it with the tenant id of the application",
			"%s has no annotation azure.workload.identity/tenant-id, and the installation has no default tenant", who)
	}
	return t.fetcherFor(who, directory, client)
}

// fetcherFor returns the client of an identity. It creates a new client if the annotations changed.
func (t *identityFetcher) fetcherFor(who keyvault.Identity, directory, client string) (*azure.Fetcher, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.fetchers[who]; ok && known.tenantID == directory && known.clientID == client {
		return known.fetcher, nil
	}
	config := t.azureConfig
	config.CredentialHint = ""
	var err error
	config.Credential, err = credential.NewFederated(t.credentialConfig,
		credential.FederatedApplication{TenantID: directory, ClientID: client, Subject: who.String(),
			GetAssertion: func(ctx context.Context) (string, error) { return t.accounts.Token(ctx, who) }})
	if err != nil {
		return nil, err
	}
	vaults, err := azure.New(config)
	if err != nil {
		return nil, err
	}
	for other := range t.fetchers {
		if len(t.fetchers) < limits.CachedIdentities {
			break
		}
		delete(t.fetchers, other)
	}
	t.fetchers[who] = &cachedFetcher{tenantID: directory, clientID: client, fetcher: vaults}
	return vaults, nil
}
