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

// keyID names the one signing key.
const keyID = "emulator-1"

// Principal is somebody who can get a token.
type Principal struct {
	// Name is for messages.
	Name string `json:"name"`
	// ClientID of the application or managed identity.
	ClientID string `json:"clientId"`
	// ObjectID is what vaults give permissions to.
	ObjectID string `json:"objectId"`
	// Secret of an application; empty for a managed identity.
	Secret string `json:"secret,omitempty"`
	// ManagedIdentity is "system" or "user" for an identity that IMDS serves.
	ManagedIdentity string `json:"managedIdentity,omitempty"`
	// ResourceID of a user-assigned managed identity.
	ResourceID string `json:"resourceId,omitempty"`
	// AssignedAfterSeconds is how long the metadata service does not know a managed identity after it was registered:
	// assigning takes Azure 10 to 20 seconds on a virtual machine, and 40 to 60 on a scale set.
	AssignedAfterSeconds int `json:"assignedAfterSeconds,omitempty"`
	// Certificates of an application, PEM; assertions that their keys signed are accepted.
	Certificates string `json:"certificates,omitempty"`
	// Username and Password of a user who may sign in to the application.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// TokenSeconds is how long its tokens live; an hour if it is 0.
	TokenSeconds int `json:"tokenSeconds,omitempty"`
	// RefusedWith is the AADSTS code with which every request is refused, whatever it proves: a missing consent
	// (65001), a second factor (50076).
	RefusedWith int `json:"refusedWith,omitempty"`
	// MetadataStatus is what the metadata service answers for a managed identity, instead of a token.
	MetadataStatus int `json:"metadataStatus,omitempty"`
	// Federated are the foreign tokens that stand for the principal.
	Federated []Federation `json:"federated,omitempty"`

	registered time.Time
}

// Assigned says whether the metadata service knows a managed identity at that time.
func (p Principal) Assigned(now time.Time) bool {
	return p.ManagedIdentity != "" && !now.Before(p.registered.Add(time.Duration(p.AssignedAfterSeconds)*time.Second))
}

// Federation trusts tokens of an issuer for one subject.
type Federation struct {
	// Issuer and Subject of the token; its audience has to be api://AzureADTokenExchange, or api://AKSIdentityBinding
	// if Bound is set.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Bound is an identity binding of AKS: the token is exchanged by the cluster's proxy alone.
	Bound bool `json:"bound,omitempty"`
	// Key is the issuer's public key, PEM.
	Key string `json:"key"`
}

// Directory is one tenant.
type Directory struct {
	// Tenant is its id, a UUID.
	Tenant string
	// Now tells the time.
	Now func() time.Time
	// Count is told of each answer of the token endpoint.
	Count func(name string)

	key        *rsa.PrivateKey
	mu         sync.Mutex
	principals []Principal
}

// New makes a directory with a fresh signing key.
func New(tenant string, now func() time.Time, count func(string)) (*Directory, error) {
	if tenant == "" || now == nil || count == nil {
		return nil, errors.New("making a directory: tenant, clock and counter are required")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &Directory{Tenant: tenant, Now: now, Count: count, key: key}, nil
}

// SignWith takes a key of the caller's, PEM, so that tokens outlive a restart. It is called before the first token.
func (d *Directory) SignWith(content []byte) error {
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

// Find gives the first principal that matches.
func (d *Directory) Find(match func(Principal) bool) (Principal, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.principals, match); i >= 0 {
		return d.principals[i], true
	}
	return Principal{}, false
}

// claims of a token, as far as vaults look at them.
type claims struct {
	jwt.RegisteredClaims
	ObjectID string `json:"oid"`
	AppID    string `json:"appid"`
	Tenant   string `json:"tid"`
}

// Issue makes a token for the principal. The audience is a resource, without /.default.
func (d *Directory) Issue(p Principal, audience string, lifetime time.Duration) (string, error) {
	now := d.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "https://sts.windows.net/" + d.Tenant + "/", Subject: p.ObjectID,
			Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-time.Minute)),
			ExpiresAt: jwt.NewNumericDate(now.Add(lifetime)),
		},
		ObjectID: p.ObjectID, AppID: p.ClientID, Tenant: d.Tenant,
	})
	token.Header["kid"] = keyID
	return token.SignedString(d.key)
}

// Verify checks signature, expiry, tenant and audience, and gives the object id of whom the token was issued to.
func (d *Directory) Verify(token, audience string) (string, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return d.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(d.Now), jwt.WithExpirationRequired())
	switch {
	case err != nil:
		return "", fmt.Errorf("verifying a token: %w", err)
	case c.Tenant != d.Tenant:
		return "", errors.New("verifying a token: it is of another tenant")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return strings.TrimSuffix(a, "/") == audience }):
		return "", errors.New("verifying a token: it is for another audience")
	}
	return c.ObjectID, nil
}
