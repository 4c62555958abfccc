package serviceaccount

import (
	"context"
	"errors"
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
	annotationClient = "azure.workload.identity/client-id"
	annotationTenant = "azure.workload.identity/tenant-id"
)

// audience restricts the token to the token exchange of Microsoft Entra ID.
const audience = "api://AzureADTokenExchange"

// tokenSeconds is the lifetime of a token. The token is used at once; ten minutes is the minimum that the API server
// accepts.
const tokenSeconds int64 = 600

// lookAgain is how long the annotations of a ServiceAccount are cached.
const lookAgain = 10 * time.Second

// Config configures Accounts; every field is required.
type Config struct {
	// Live reads ServiceAccounts by name from the API server, without a cache.
	Live client.Reader
	// Tokens creates TokenRequests.
	Tokens client.SubResourceClientConstructor
	// Clock returns the current time.
	Clock func() time.Time
}

// Accounts reads ServiceAccounts and requests their tokens. It is safe for concurrent use.
type Accounts struct {
	config Config
	mu     sync.Mutex
	seen   map[keyvault.Identity]sighting
}

// sighting holds the cached annotations of a ServiceAccount.
type sighting struct {
	tenant, client string
	at             time.Time
}

// New returns Accounts. It fails if a field of the configuration is missing.
func New(c Config) (*Accounts, error) {
	if c.Live == nil || c.Tokens == nil || c.Clock == nil {
		return nil, errors.New("serviceaccount.New: Config.APIReader, TokenClient and Clock are required")
	}
	return &Accounts{config: c, seen: map[keyvault.Identity]sighting{}}, nil
}

// Application returns the tenant id and the client id that the ServiceAccount is annotated with. The tenant id can be
// empty. Errors are of package fault.
func (a *Accounts) Application(ctx context.Context, who keyvault.Identity) (tenant, client string, err error) {
	a.mu.Lock()
	last, ok := a.seen[who]
	a.mu.Unlock()
	if ok && a.config.Clock().Sub(last.at) < lookAgain {
		return last.tenant, last.client, nil
	}
	if problems := validation.IsDNS1123Subdomain(who.ServiceAccount); len(problems) > 0 {
		return "", "", fault.Advise(fault.Invalid, "correct spec.vault.azureIdentity.name",
			"spec.vault.azureIdentity.name %.80q is not a valid ServiceAccount name", who.ServiceAccount)
	}
	var account corev1.ServiceAccount
	if err := a.config.Live.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.ServiceAccount},
		&account); err != nil {
		return "", "", a.refusal(err, who)
	}
	now := sighting{tenant: strings.TrimSpace(account.Annotations[annotationTenant]),
		client: strings.TrimSpace(account.Annotations[annotationClient]), at: a.config.Clock()}
	if now.client == "" {
		return "", "", fault.Advise(fault.Unauthenticated,
			"set it to the client id of the application that reads the vault", "%s has no annotation %s", who,
			annotationClient)
	}
	a.remember(who, now)
	return now.tenant, now.client, nil
}

// remember caches the annotations. It removes expired entries, and other entries while the cache is full.
func (a *Accounts) remember(who keyvault.Identity, now sighting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, s := range a.seen {
		if now.at.Sub(s.at) >= lookAgain || len(a.seen) >= limits.ReadIdentities {
			delete(a.seen, other)
		}
	}
	a.seen[who] = now
}

// Token requests a token of the ServiceAccount that only Microsoft Entra ID accepts. Errors are of package fault.
func (a *Accounts) Token(ctx context.Context, who keyvault.Identity) (string, error) {
	seconds := tokenSeconds
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = who.Namespace, who.ServiceAccount
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience},
		ExpirationSeconds: &seconds}}
	if err := a.config.Tokens.SubResource("token").Create(ctx, account, request); err != nil {
		return "", a.refusal(err, who)
	}
	return request.Status.Token, nil
}

func (a *Accounts) refusal(err error, who keyvault.Identity) error {
	switch {
	case apierrors.IsNotFound(err):
		return fault.Advise(fault.Unauthenticated, "create it, or correct spec.vault.azureIdentity.name",
			"%s does not exist", who)
	case apierrors.IsForbidden(err):
		return fault.Advise(fault.Denied, "add it to the value identity.serviceAccounts, or set identity.allNamespaces",
			"the installation is not allowed to use %s", who)
	}
	return &fault.Error{Kind: fault.Unavailable, Doing: fmt.Sprintf("requesting %s from the API server", who),
		Cause: err, Next: "the request is retried; check the API server"}
}
