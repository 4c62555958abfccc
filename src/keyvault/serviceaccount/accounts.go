package serviceaccount

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Annotations of a ServiceAccount, as defined by Azure Workload Identity.
const (
	annotationClientID = "azure.workload.identity/client-id"
	annotationTenantID = "azure.workload.identity/tenant-id"
)

// tokenAudience restricts the token to the token exchange of Microsoft Entra ID.
const tokenAudience = "api://AzureADTokenExchange"

// tokenLifetimeSeconds is the lifetime of a token. The token is used at once; ten minutes is the minimum that the API
// server accepts.
const tokenLifetimeSeconds int64 = 600

// annotationCacheTTL is how long the annotations of a ServiceAccount are cached.
const annotationCacheTTL = 10 * time.Second

// Config configures Accounts; every field is required.
type Config struct {
	// APIReader reads ServiceAccounts by name from the API server, without a cache.
	APIReader client.Reader
	// TokenClient creates TokenRequests.
	TokenClient client.SubResourceClientConstructor
	// Clock returns the current time.
	Clock func() time.Time
}

// Accounts reads ServiceAccounts and requests their tokens. It is safe for concurrent use.
type Accounts struct {
	config Config
	mu     sync.Mutex
	cached map[keyvault.Identity]cachedApplication
}

// cachedApplication holds the cached annotations of a ServiceAccount.
type cachedApplication struct {
	tenantID, clientID string
	readAt             time.Time
}

// New returns Accounts. It fails if a field of the configuration is missing.
func New(c Config) (*Accounts, error) {
	if err := fault.RequireFields("serviceaccount.New", map[string]bool{
		"APIReader": c.APIReader != nil, "TokenClient": c.TokenClient != nil, "Clock": c.Clock != nil,
	}); err != nil {
		return nil, err
	}
	return &Accounts{config: c, cached: map[keyvault.Identity]cachedApplication{}}, nil
}

// ApplicationIDs returns the tenant id and the client id that the ServiceAccount is annotated with. The tenant id can
// be empty. Errors are of package fault.
func (a *Accounts) ApplicationIDs(ctx context.Context, who keyvault.Identity) (tenant, client string, err error) {
	a.mu.Lock()
	last, ok := a.cached[who]
	a.mu.Unlock()
	if ok && a.config.Clock().Sub(last.readAt) < annotationCacheTTL {
		return last.tenantID, last.clientID, nil
	}
	if problems := validation.IsDNS1123Subdomain(who.ServiceAccount); len(problems) > 0 {
		return "", "", fault.NewWithNextStep(fault.Invalid, "correct spec.vault.azureIdentity.name",
			"spec.vault.azureIdentity.name %.80q is not a valid ServiceAccount name", who.ServiceAccount)
	}
	var account corev1.ServiceAccount
	if err := a.config.APIReader.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.ServiceAccount},
		&account); err != nil {
		return "", "", a.classifyAPIError(err, who)
	}
	now := cachedApplication{tenantID: strings.TrimSpace(account.Annotations[annotationTenantID]),
		clientID: strings.TrimSpace(account.Annotations[annotationClientID]), readAt: a.config.Clock()}
	if now.clientID == "" {
		return "", "", fault.NewWithNextStep(fault.Unauthenticated,
			"set it to the client id of the application that reads the vault", "%s has no annotation %s", who,
			annotationClientID)
	}
	a.cacheApplication(who, now)
	return now.tenantID, now.clientID, nil
}

// cacheApplication caches the annotations. It removes expired entries, and other entries while the cache is full.
func (a *Accounts) cacheApplication(who keyvault.Identity, now cachedApplication) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, s := range a.cached {
		if now.readAt.Sub(s.readAt) >= annotationCacheTTL || len(a.cached) >= limits.CachedIdentities {
			delete(a.cached, other)
		}
	}
	a.cached[who] = now
}

// Token requests a token of the ServiceAccount that only Microsoft Entra ID accepts. Errors are of package fault.
func (a *Accounts) Token(ctx context.Context, who keyvault.Identity) (string, error) {
	seconds := tokenLifetimeSeconds
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = who.Namespace, who.ServiceAccount
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{tokenAudience}, ExpirationSeconds: &seconds,
	}}
	if err := a.config.TokenClient.SubResource("token").Create(ctx, account, request); err != nil {
		return "", a.classifyAPIError(err, who)
	}
	return request.Status.Token, nil
}

func (a *Accounts) classifyAPIError(err error, who keyvault.Identity) error {
	switch {
	case apierrors.IsNotFound(err):
		return fault.NewWithNextStep(fault.Unauthenticated, "create it, or correct spec.vault.azureIdentity.name",
			"%s does not exist", who)
	case apierrors.IsForbidden(err):
		return fault.NewWithNextStep(fault.Denied,
			"add it to the value identity.serviceAccounts, or set identity.allNamespaces",
			"the installation is not allowed to use %s", who)
	}
	return &fault.Error{Kind: fault.Unavailable, Operation: fmt.Sprintf("requesting %s from the API server", who),
		Cause: err, Next: "the request is retried; check the API server"}
}
