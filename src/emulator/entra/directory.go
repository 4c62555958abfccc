package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signingKeyID is the id of the signing key.
const signingKeyID = "emulator-1"

// Principal is an application, a managed identity or a user that can get tokens.
type Principal struct {
	// Name is used in the names of counters.
	Name string `json:"name"`
	// ClientID of the application or managed identity.
	ClientID string `json:"clientId"`
	// ObjectID is the id that vaults grant permissions to.
	ObjectID string `json:"objectId"`
	// Secret of an application; empty for a managed identity.
	Secret string `json:"secret,omitempty"`
	// ManagedIdentity is "system" or "user" for a managed identity, whose tokens IMDS serves; otherwise empty.
	ManagedIdentity string `json:"managedIdentity,omitempty"`
	// ResourceID of a user-assigned managed identity.
	ResourceID string `json:"resourceId,omitempty"`
	// AssignedAfterSeconds is the time from Register until the metadata service knows a managed identity. In Azure, it
	// is 10 to 20 seconds on a virtual machine, and 40 to 60 seconds on a scale set.
	AssignedAfterSeconds int `json:"assignedAfterSeconds,omitempty"`
	// Certificates of an application, PEM. Their keys can sign its assertions.
	Certificates string `json:"certificates,omitempty"`
	// Username and Password of a user that can sign in to the application.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// TokenSeconds is the lifetime of tokens; 0 means an hour.
	TokenSeconds int `json:"tokenSeconds,omitempty"`
	// RefusedWith is the AADSTS code of the error for every request with valid credentials, such as 65001 (missing
	// consent) or 50076 (second factor required); 0 means no error.
	RefusedWith int `json:"refusedWith,omitempty"`
	// MetadataStatus is the HTTP status that the metadata service returns in place of a token; 0 means no error.
	MetadataStatus int `json:"metadataStatus,omitempty"`
	// Federated are the federated credentials of the principal.
	Federated []Federation `json:"federated,omitempty"`

	registered time.Time
}

// IsAssignedAt reports whether the metadata service knows a managed identity at the time now.
func (p Principal) IsAssignedAt(now time.Time) bool {
	return p.ManagedIdentity != "" && !now.Before(p.registered.Add(time.Duration(p.AssignedAfterSeconds)*time.Second))
}

// Federation is a federated credential: it trusts the tokens of an issuer for one subject.
type Federation struct {
	// Issuer and Subject of the token. Its audience must be api://AzureADTokenExchange, or api://AKSIdentityBinding if
	// Bound is set.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Bound marks an AKS identity binding: only the cluster's proxy can exchange the token.
	Bound bool `json:"bound,omitempty"`
	// Key is the issuer's public key, PEM.
	Key string `json:"key"`
}

// Directory is a tenant with its principals.
type Directory struct {
	// Tenant is its id, a UUID.
	Tenant string
	// Now returns the current time.
	Now func() time.Time
	// Count is called for each response of the token endpoint.
	Count func(name string)

	key        *rsa.PrivateKey
	mu         sync.Mutex
	principals []Principal
}

// New creates a directory with a new signing key.
func New(tenant string, now func() time.Time, count func(string)) (*Directory, error) {
	if tenant == "" || now == nil || count == nil {
		return nil, errors.New("entra.New: tenant, now and count are required")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &Directory{Tenant: tenant, Now: now, Count: count, key: key}, nil
}

// UseSigningKey sets the signing key (RSA, PEM), so tokens stay valid after a restart. Call it before issuing tokens.
func (d *Directory) UseSigningKey(content []byte) error {
	key, err := jwt.ParseRSAPrivateKeyFromPEM(content)
	if err != nil {
		return fmt.Errorf("parsing the signing key: %w", err)
	}
	d.key = key
	return nil
}

// Register adds a principal, or replaces the one with its client id.
func (d *Directory) Register(p Principal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.registered = d.Now()
	d.principals = slices.DeleteFunc(d.principals, func(old Principal) bool { return old.ClientID == p.ClientID })
	d.principals = append(d.principals, p)
}

// Find returns the first principal that matches.
func (d *Directory) Find(match func(Principal) bool) (Principal, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.principals, match); i >= 0 {
		return d.principals[i], true
	}
	return Principal{}, false
}

// tokenClaims are the claims of a token that vaults check.
type tokenClaims struct {
	jwt.RegisteredClaims
	ObjectID string `json:"oid"`
	AppID    string `json:"appid"`
	Tenant   string `json:"tid"`
}

// Issue issues a token for the principal. The audience is a resource, without /.default.
func (d *Directory) Issue(p Principal, audience string, lifetime time.Duration) (string, error) {
	now := d.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, tokenClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "https://sts.windows.net/" + d.Tenant + "/", Subject: p.ObjectID,
			Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-time.Minute)),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		ObjectID: p.ObjectID, AppID: p.ClientID, Tenant: d.Tenant,
	})
	token.Header["kid"] = signingKeyID
	return token.SignedString(d.key)
}

// Verify checks signature, expiry, tenant and audience of a token, and returns the object id of its principal.
func (d *Directory) Verify(token, audience string) (string, error) {
	var c tokenClaims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return d.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(d.Now), jwt.WithExpirationRequired())
	switch {
	case err != nil:
		return "", fmt.Errorf("verifying a token: %w", err)
	case c.Tenant != d.Tenant:
		return "", errors.New("verifying a token: the token is from another tenant")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return strings.TrimSuffix(a, "/") == audience }):
		return "", errors.New("verifying a token: the token is for another audience")
	}
	return c.ObjectID, nil
}
