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

// Annotations of a ServiceAccount, those of Azure's own workload identity.
const (
	annotationClient = "azure.workload.identity/client-id"
	annotationTenant = "azure.workload.identity/tenant-id"
)

// audience is whom a token is for: Azure's exchange, and nobody else.
const audience = "api://AzureADTokenExchange"

// tokenSeconds is how long a token lives; it is used at once, and the API server gives none for less than ten minutes.
const tokenSeconds int64 = 600

// lookAgain is how long the annotations of an account are believed.
const lookAgain = 10 * time.Second

// Config is what Accounts work with; every field is required.
type Config struct {
	// Live reads ServiceAccounts from the API server, by name; they are not watched.
	Live client.Reader
	// Tokens makes TokenRequests.
	Tokens client.SubResourceClientConstructor
	// Clock tells the time.
	Clock func() time.Time
}

// Accounts are the ServiceAccounts that may be used. It is safe for concurrent use.
type Accounts struct {
	config Config
	mu     sync.Mutex
	seen   map[keyvault.Identity]sighting
}

// sighting is what an account was annotated with.
type sighting struct {
	tenant, client string
	at             time.Time
}

// New checks the configuration.
func New(c Config) (*Accounts, error) {
	if c.Live == nil || c.Tokens == nil || c.Clock == nil {
		return nil, errors.New("creating the service accounts: a part of the configuration is missing")
	}
	return &Accounts{config: c, seen: map[keyvault.Identity]sighting{}}, nil
}

// Application is the tenant and the client id that the account is annotated with; the tenant may be empty. Errors are
// of package fault.
func (a *Accounts) Application(ctx context.Context, who keyvault.Identity) (tenant, client string, err error) {
	a.mu.Lock()
	last, ok := a.seen[who]
	a.mu.Unlock()
	if ok && a.config.Clock().Sub(last.at) < lookAgain {
		return last.tenant, last.client, nil
	}
	if problems := validation.IsDNS1123Subdomain(who.ServiceAccount); len(problems) > 0 {
		return "", "", fault.Advise(fault.Invalid, "correct spec.vault.azureIdentity.name",
			"spec.vault.azureIdentity.name %.80q is no name of a ServiceAccount", who.ServiceAccount)
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
			"set it to the client id of the application that the account reads with", "%s has no annotation %s", who,
			annotationClient)
	}
	a.remember(who, now)
	return now.tenant, now.client, nil
}

// remember keeps what is fresh and drops the rest.
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

// Token is a token of the account that nobody but Azure accepts. Errors are of package fault.
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
			"there is no %s", who)
	case apierrors.IsForbidden(err):
		return fault.Advise(fault.Denied, "add it to the value identity.serviceAccounts, or set identity.allNamespaces",
			"%s may not be used", who)
	}
	return &fault.Error{Kind: fault.Unavailable, Doing: fmt.Sprintf("asking the API server for %s", who), Cause: err,
		Next: "it is tried again; look at the API server"}
}
