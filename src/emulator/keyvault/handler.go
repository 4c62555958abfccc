package keyvault

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Verifier verifies a token and returns the object id of its principal.
type Verifier interface {
	Verify(token, audience string) (objectID string, err error)
}

// Server serves all vaults of all clouds. The Host header selects the vault.
type Server struct {
	Store *Store
	// Tokens verifies the tokens of callers.
	Tokens Verifier
	// Tenant is named in the challenge.
	Tenant string
	// Count is called for each response with "VAULT OPERATION STATUS". For each call that a caller made although the
	// vault had told it to wait, by a 429 or a Retry-After, it is also called with "VAULT in-pause" and with "VAULT
	// in-pause after TIME", where TIME is the time since that response.
	Count func(name string)

	pauses callerPauses
}

// authorityBySuffix maps the DNS suffix of vaults to the authority in their challenge.
func authorityBySuffix() map[string]string {
	return map[string]string{
		"vault.azure.net": "login.microsoftonline.com", "vault.usgovcloudapi.net": "login.microsoftonline.us",
		"vault.azure.cn": "login.chinacloudapi.cn",
		// A private cloud such as Azure Stack, with names that Microsoft's instance discovery does not know.
		"vault.private.example": "login.private.example",
	}
}

// apiVersions returns the supported API versions. The product requests the newer ones, older clients 7.0.
func apiVersions() []string { return []string{"7.0", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"} }

// call is one parsed request.
type call struct {
	vault, suffix, operation, name, version string
	// kind is secrets, certificates or keys.
	kind string
}

// apiError is an error response in the format of Key Vault.
type apiError struct {
	status                   int
	code, message, innerCode string
}

func replyError(w http.ResponseWriter, f apiError) {
	body := map[string]any{"code": f.code, "message": f.message}
	if f.innerCode != "" {
		body["innererror"] = map[string]any{"code": f.innerCode}
	}
	replyJSON(w, f.status, map[string]any{"error": body})
}

func replyJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("x-ms-keyvault-service-version", "1.9.2500.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	name, suffix, _ := strings.Cut(strings.ToLower(host), ".")
	c, ok := parseRequest(r)
	c.vault, c.suffix = name, suffix
	if !s.hasVault(name) {
		s.Count(name + " none dropped")
		panic(http.ErrAbortHandler)
	}
	caller, _, _ := net.SplitHostPort(r.RemoteAddr)
	caller += " " + name
	if late := s.pauses.timeIntoPause(caller, s.Store.Now()); late > 0 {
		s.Count(name + " in-pause")
		s.Count(fmt.Sprintf("%s in-pause after %s", name, late.Truncate(100*time.Millisecond)))
	}
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	defer func() { s.Count(fmt.Sprintf("%s %s %d", c.vault, c.operation, recorder.status)) }()
	if !ok {
		replyError(recorder, apiError{http.StatusNotFound, "NotFound", "The requested resource was not found.", ""})
		return
	}
	fault, struck := s.Store.applicableFault(c)
	objectID, ok := s.authenticateCaller(recorder, r, c, fault)
	if !ok {
		return
	}
	if struck && fault.applyToResponse(recorder, r) {
		if r.Context().Err() == nil { // else the caller did not receive the response
			s.pauses.beginPause(caller, s.Store.Now(), fault.retryDelay())
		}
		return
	}
	if f := s.authorizeCall(c, objectID); f != nil {
		replyError(recorder, *f)
		return
	}
	s.executeOperation(recorder, r, c)
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController access to the wrapped writer, which it flushes.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (s *Server) hasVault(name string) bool {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	_, ok := s.Store.vaults[name]
	return ok
}

// parseRequest parses method and path. The names of operations are those of permissions.
func parseRequest(r *http.Request) (call, bool) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	c := call{operation: "unknown", kind: strings.TrimPrefix(parts[0], "deleted")}
	if len(parts) > 1 {
		c.name = parts[1]
	}
	key := fmt.Sprintf("%s %s %d", r.Method, parts[0], len(parts))
	if len(parts) == 3 && (parts[2] == "versions" || parts[2] == "recover") {
		key += " " + parts[2]
	} else if len(parts) == 3 {
		c.version = parts[2]
	}
	operation, ok := map[string]string{
		"GET secrets 1": "list", "GET secrets 2": "get", "GET secrets 3": "get", "GET secrets 3 versions": "versions",
		"PUT secrets 2": "set", "PATCH secrets 3": "update", "PATCH secrets 2": "update", "DELETE secrets 2": "delete",
		"GET deletedsecrets 1": "listdeleted", "GET deletedsecrets 2": "getdeleted", "DELETE deletedsecrets 2": "purge",
		"POST deletedsecrets 3 recover": "recover",
		"GET certificates 1":            "certificates/list", "GET certificates 2": "certificates/get",
		"GET certificates 3":          "certificates/get",
		"GET certificates 3 versions": "certificates/versions", "GET keys 3 versions": "keys/versions",
		"GET keys 1": "keys/list", "GET keys 2": "keys/get", "GET keys 3": "keys/get",
	}[key]
	if ok {
		c.operation = operation
	}
	return c, ok
}

// authenticateCaller responds with 401 and a challenge unless the request has a valid token. A fault can reject every
// token or replace the challenge.
func (s *Server) authenticateCaller(w http.ResponseWriter, r *http.Request, c call, f Fault) (string, bool) {
	challenge := fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://%s"`,
		authorityBySuffix()[c.suffix],
		s.Tenant, c.suffix)
	if f.Challenge != "" {
		challenge = f.Challenge
	}
	token, sent := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	objectID, err := s.Tokens.Verify(token, "https://"+c.suffix)
	if sent && err == nil && !f.RefuseTokens {
		return objectID, true
	}
	if sent {
		challenge += `, error="invalid_token", error_description="Error validating token: 'S2S12001'."`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	replyError(w, apiError{http.StatusUnauthorized, "Unauthorized",
		"AKV10000: Request is missing a Bearer or PoP token.",
		""})
	return "", false
}

func (s *Server) authorizeCall(c call, objectID string) *apiError {
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	v := s.Store.getOrCreateVault(c.vault)
	permission := map[string]string{"versions": "list", "certificates/versions": "certificates/list",
		"keys/versions": "keys/list", "listdeleted": "list", "getdeleted": "get", "update": "set"}[c.operation]
	if permission == "" {
		permission = c.operation
	}
	switch {
	case v.privateOnly:
		return &apiError{http.StatusForbidden, "Forbidden", "Connection is not an approved private link.",
			"ForbiddenByConnection"}
	case v.firewall:
		return &apiError{http.StatusForbidden, "Forbidden",
			"Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.7",
			"ForbiddenByFirewall"}
	case !slices.Contains(v.permissions[objectID], permission):
		return &apiError{http.StatusForbidden, "Forbidden",
			fmt.Sprintf("Caller is not authorized to perform action on resource.\r\n"+
				"Caller: appid=*;oid=%s;iss=*\r\nAction: 'Microsoft.KeyVault/vaults/%s/%s/action'\r\nVault: %s",
				objectID, c.kind, path.Base(permission), v.name), "ForbiddenByRbac"}
	}
	return nil
}
