package entra

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// Domain is the domain name of the tenant.
const Domain = "emulator.onmicrosoft.com"

// tokenLifetime is the default lifetime of tokens, as in Entra ID.
const tokenLifetime = time.Hour

// Handler returns the handler for login.microsoftonline.com and the login hosts of the sovereign clouds.
func (d *Directory) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", d.handleInstanceDiscovery)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", d.handleConfiguration)
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", d.handleKeys)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", d.handleToken)
	mux.HandleFunc("GET /common/UserRealm/{user}", d.handleUserRealm)
	return mux
}

func (d *Directory) handleInstanceDiscovery(w http.ResponseWriter, r *http.Request) {
	replyJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/" + d.Tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{"preferred_network": r.Host, "preferred_cache": r.Host,
			"aliases": []string{r.Host}}},
	})
}

func (d *Directory) handleConfiguration(w http.ResponseWriter, r *http.Request) {
	if !d.requireKnownTenant(w, r) {
		return
	}
	base := "https://" + r.Host + "/" + d.Tenant
	replyJSON(w, http.StatusOK, map[string]any{
		"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token",
		"jwks_uri":                 base + "/discovery/v2.0/keys",
		"authorization_endpoint":   base + "/oauth2/v2.0/authorize",
		"response_types_supported": []string{"code", "id_token"},
		"subject_types_supported":  []string{"pairwise"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt",
			"client_secret_basic"},
	})
}

func (d *Directory) handleKeys(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	replyJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256",
		"kid": signingKeyID,
		"n":   encode(d.key.N.Bytes()), "e": encode(big.NewInt(int64(d.key.E)).Bytes())}}})
}

func (d *Directory) requireKnownTenant(w http.ResponseWriter, r *http.Request) bool {
	if tenant := r.PathValue("tenant"); tenant == d.Tenant || tenant == Domain {
		return true
	}
	replyError(w, "invalid_tenant", 90002,
		fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID.", r.PathValue("tenant")))
	return false
}

func (d *Directory) handleToken(w http.ResponseWriter, r *http.Request) {
	if !d.requireKnownTenant(w, r) {
		d.Count("token unknown-tenant 400")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		replyError(w, "invalid_request", 900144, "The request body is malformed.")
		return
	}
	flow, authenticate := "unsupported", d.rejectGrantType
	switch form := r.PostForm; {
	case form.Get("grant_type") == "client_credentials" && form.Get("client_assertion") != "":
		flow, authenticate = "assertion", d.authenticateAssertion
	case form.Get("grant_type") == "client_credentials":
		flow, authenticate = "client-secret", d.authenticateSecret
	case form.Get("grant_type") == "password":
		flow, authenticate = "password", d.authenticatePassword
	}
	principal, refused := authenticate(r)
	if refused == nil && principal.RefusedWith != 0 {
		refused = &tokenError{"invalid_grant", principal.RefusedWith, "The request was refused."}
	}
	if refused != nil {
		status := replyError(w, refused.oauthError, refused.code, refused.message)
		d.Count(fmt.Sprintf("token %s %s %d", flow, cmp.Or(principal.Name, "unknown"), status))
		return
	}
	d.issueToken(w, r, principal, flow)
}

// tokenError is an error response of the token endpoint.
type tokenError struct {
	oauthError string
	code       int
	message    string
}

func (d *Directory) rejectGrantType(r *http.Request) (Principal, *tokenError) {
	return Principal{}, &tokenError{"unsupported_grant_type", 70003,
		fmt.Sprintf("The app requested an unsupported grant type '%s'.", r.PostForm.Get("grant_type"))}
}

// findApplication returns the principal with the client_id of the request.
func (d *Directory) findApplication(r *http.Request) (Principal, *tokenError) {
	id := r.PostForm.Get("client_id")
	principal, ok := d.Find(func(p Principal) bool { return p.ClientID == id && p.ManagedIdentity == "" })
	if !ok {
		return principal, &tokenError{"unauthorized_client", 700016,
			fmt.Sprintf("Application with identifier '%s' was not found in the directory.", id)}
	}
	return principal, nil
}

func (d *Directory) authenticateSecret(r *http.Request) (Principal, *tokenError) {
	principal, refused := d.findApplication(r)
	if refused != nil {
		return principal, refused
	}
	if principal.Secret == "" || subtle.ConstantTimeCompare([]byte(principal.Secret),
		[]byte(r.PostForm.Get("client_secret"))) != 1 {
		return principal, &tokenError{"invalid_client", 7000215,
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value."}
	}
	return principal, nil
}

func (d *Directory) authenticatePassword(r *http.Request) (Principal, *tokenError) {
	principal, refused := d.findApplication(r)
	if refused != nil {
		return principal, refused
	}
	known := principal.Username != "" && strings.EqualFold(principal.Username, r.PostForm.Get("username"))
	if !known || subtle.ConstantTimeCompare([]byte(principal.Password), []byte(r.PostForm.Get("password"))) != 1 {
		return principal, &tokenError{"invalid_grant", 50126,
			"Error validating credentials due to invalid username or password."}
	}
	return principal, nil
}

// issueToken responds with a token for the resource in the scope.
func (d *Directory) issueToken(w http.ResponseWriter, r *http.Request, principal Principal, flow string) {
	resource, ok := "", false
	for scope := range strings.FieldsSeq(r.PostForm.Get("scope")) {
		if resource, ok = strings.CutSuffix(scope, "/.default"); ok {
			break
		}
	}
	lifetime := tokenLifetime
	if principal.TokenSeconds > 0 {
		lifetime = time.Duration(principal.TokenSeconds) * time.Second
	}
	token, err := d.Issue(principal, strings.TrimSuffix(resource, "/"), lifetime)
	if err != nil || !ok {
		replyError(w, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid.")
		return
	}
	d.Count("token " + flow + " " + principal.Name + " 200")
	body := map[string]any{"token_type": "Bearer", "expires_in": int(lifetime.Seconds()),
		"ext_expires_in": int(lifetime.Seconds()), "access_token": token, "scope": r.PostForm.Get("scope")}
	if flow == "password" {
		body["client_info"] = base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"` + principal.ObjectID +
			`","utid":"` + d.Tenant + `"}`))
		body["id_token"] = d.issueIDToken(principal)
	}
	replyJSON(w, http.StatusOK, body)
}

// handleUserRealm responds that every user is managed by this directory.
func (d *Directory) handleUserRealm(w http.ResponseWriter, r *http.Request) {
	replyJSON(w, http.StatusOK, map[string]any{"ver": "1.0", "account_type": "Managed", "domain_name": "example.org",
		"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline",
		"login": r.PathValue("user")})
}

// replyError responds with an error in Entra's format and returns the status: 401 for invalid_client, else 400.
func replyError(w http.ResponseWriter, kind string, code int, text string) int {
	status := http.StatusBadRequest
	if kind == "invalid_client" {
		status = http.StatusUnauthorized
	}
	const trace = "00000000-0000-4000-8000-000000000000"
	replyJSON(w, status, map[string]any{"error": kind, "error_codes": []int{code}, "trace_id": trace,
		"correlation_id": trace,
		"timestamp":      time.Now().UTC().Format("2006-01-02 15:04:05Z"),
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", code, text,
			trace, trace,
			time.Now().UTC().Format("2006-01-02 15:04:05Z"))})
	return status
}

func replyJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
