package entra

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The audiences of federated tokens: Entra ID, or the proxy of an AKS cluster with identity bindings.
const (
	exchangeAudience = "api://AzureADTokenExchange"
	bindingAudience  = "api://AKSIdentityBinding"
)

// ProxyHost is the TLS server name of the AKS cluster's token proxy. Requests through the proxy have the same format as
// those to the login host.
const ProxyHost = "token-proxy.aks.example"

// authenticateAssertion authenticates a request by a client assertion: a token that the application signed with the key
// of its certificate, or a federated token of a trusted issuer.
func (d *Directory) authenticateAssertion(r *http.Request) (Principal, *tokenError) {
	principal, refused := d.findApplication(r)
	if refused != nil {
		return principal, refused
	}
	text := r.PostForm.Get("client_assertion")
	var content jwt.RegisteredClaims
	token, _, err := jwt.NewParser().ParseUnverified(text, &content)
	if err != nil ||
		r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return principal, &tokenError{"invalid_client", 50027, "JWT token is invalid or malformed."}
	}
	if _, ok := token.Header["x5t#S256"]; ok || content.Issuer == principal.ClientID {
		return principal, d.checkCertificateAssertion(r, principal, token)
	}
	return principal, d.checkFederatedAssertion(principal, text, content, r.TLS != nil && r.TLS.ServerName == ProxyHost)
}

// checkCertificateAssertion checks an assertion that the application signed with the key of its certificate.
func (d *Directory) checkCertificateAssertion(r *http.Request, principal Principal, token *jwt.Token) *tokenError {
	thumbprint, _ := token.Header["x5t#S256"].(string)
	for block, rest := pem.Decode([]byte(principal.Certificates)); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(cert.Raw)
		if !isSameThumbprint(thumbprint, sum[:]) {
			continue
		}
		if now := d.Now(); now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
			return &tokenError{"invalid_client", 700027,
				"The certificate with identifier used to sign the client assertion is expired on application."}
		}
		// Entra ID accepts both spellings of the token endpoint as audience.
		audiences := []string{"https://" + r.Host + "/" + d.Tenant + "/oauth2/v2.0/token",
			"https://" + r.Host + "/" + d.Tenant + "/v2.0"}
		return d.checkSignedToken(token.Raw, cert.PublicKey, []string{"PS256", "RS256"},
			func(c jwt.RegisteredClaims) bool {
				return c.Subject == principal.ClientID &&
					slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(c.Audience, a) })
			})
	}
	return &tokenError{"invalid_client", 700027,
		"The certificate with identifier used to sign the client assertion is not registered on application."}
}

// isSameThumbprint compares the thumbprint that the SDK sends, in any base64 alphabet, with a hash.
func isSameThumbprint(sent string, sum []byte) bool {
	return slices.Contains([]string{base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum),
		base64.URLEncoding.EncodeToString(sum)}, sent)
}

// checkFederatedAssertion checks a token of a trusted issuer, such as a Kubernetes cluster.
func (d *Directory) checkFederatedAssertion(principal Principal, text string, content jwt.RegisteredClaims,
	byProxy bool) *tokenError {
	for _, trusted := range principal.Federated {
		if trusted.Issuer != content.Issuer || trusted.Subject != content.Subject || trusted.Bound != byProxy {
			continue
		}
		key, err := parsePublicKey(trusted.Key)
		if err != nil {
			return &tokenError{"invalid_client", 50166, "Request to External OIDC endpoint failed."}
		}
		audience := exchangeAudience
		if trusted.Bound {
			audience = bindingAudience
		}
		return d.checkSignedToken(text, key, []string{"RS256"},
			func(c jwt.RegisteredClaims) bool { return slices.Contains(c.Audience, audience) })
	}
	return &tokenError{"invalid_client", 700213,
		fmt.Sprintf("No matching federated identity record found for presented assertion subject '%s'. "+
			"Check your federated identity credential Subject, Audience and Issuer against the presented assertion.",
			content.Subject)}
}

// checkSignedToken checks the signature and the validity period of a token, and its claims with the function right.
func (d *Directory) checkSignedToken(text string, key crypto.PublicKey, methods []string,
	right func(jwt.RegisteredClaims) bool) *tokenError {
	var content jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(text, &content, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods(methods), jwt.WithTimeFunc(d.Now), jwt.WithExpirationRequired(),
		jwt.WithLeeway(5*time.Minute))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet),
		errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return &tokenError{"invalid_client", 700024, "Client assertion is not within its valid time range."}
	case err != nil:
		return &tokenError{"invalid_client", 700027, "Client assertion failed signature validation."}
	case !right(content):
		return &tokenError{"invalid_client", 700023, "Client assertion audience claim does not match Realm issuer."}
	}
	return nil
}

func parsePublicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil {
		return nil, errors.New("the key of the federation is not PEM")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// issueIDToken returns a signed id token for the principal, empty if signing fails.
func (d *Directory) issueIDToken(p Principal) string {
	now := d.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256,
		jwt.MapClaims{"iss": "https://login.microsoftonline.com/" + d.Tenant + "/v2.0", "aud": p.ClientID,
			"sub": p.ObjectID, "oid": p.ObjectID, "tid": d.Tenant, "preferred_username": p.Username, "iat": now.Unix(),
			"nbf": now.Unix(),
			"exp": now.Add(tokenLifetime).Unix()})
	token.Header["kid"] = signingKeyID
	text, err := token.SignedString(d.key)
	if err != nil {
		return ""
	}
	return text
}
