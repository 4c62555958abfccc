package acr

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// tokenAudience is the required audience of Entra ID tokens.
const tokenAudience = "https://containerregistry.azure.net"

// Tokens verifies Entra ID tokens and returns the object id of the principal.
type Tokens interface {
	Verify(token, audience string) (objectID string, err error)
}

// Server serves all registries of a cloud. The Host header selects the registry.
type Server struct {
	Tokens Tokens
	// Images is the upstream registry, without authentication.
	Images http.Handler
	// Count is called for each response.
	Count func(name string)

	mu sync.Mutex
	// pullersByRegistry are the object ids that can pull, by registry. refresh and access map "REGISTRY TOKEN" of each
	// issued token to the object id of its principal.
	pullersByRegistry           map[string][]string
	refreshTokens, accessTokens map[string]string
}

// AllowPull allows principals to pull from a registry, and creates the registry.
func (s *Server) AllowPull(registry string, objectIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pullersByRegistry == nil {
		s.pullersByRegistry, s.refreshTokens, s.accessTokens = map[string][]string{}, map[string]string{},
			map[string]string{}
	}
	s.pullersByRegistry[registry] = objectIDs
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.Host, ".")
	s.mu.Lock()
	_, exists := s.pullersByRegistry[name]
	s.mu.Unlock()
	switch {
	case !exists:
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/oauth2/exchange":
		s.handleExchange(w, r, name)
	case r.URL.Path == "/oauth2/token":
		s.handleToken(w, r, name)
	default:
		s.handlePull(w, r, name)
	}
}

// handleExchange issues a refresh token for a valid Entra ID token.
func (s *Server) handleExchange(w http.ResponseWriter, r *http.Request, name string) {
	objectID, err := s.Tokens.Verify(r.FormValue("access_token"), tokenAudience)
	if err != nil || r.FormValue("grant_type") != "access_token" || r.FormValue("service") != r.Host {
		s.replyJSON(w, name+" exchange", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "the token is not valid"}}})
		return
	}
	token := rand.Text()
	s.mu.Lock()
	s.refreshTokens[name+" "+token] = objectID
	s.mu.Unlock()
	s.replyJSON(w, name+" exchange", http.StatusOK, map[string]string{"refresh_token": token})
}

// handleToken issues an access token for a refresh token whose principal can pull.
func (s *Server) handleToken(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	objectID, known := s.refreshTokens[name+" "+r.FormValue("refresh_token")]
	allowed := known && slices.Contains(s.pullersByRegistry[name], objectID)
	token := rand.Text()
	if allowed {
		s.accessTokens[name+" "+token] = objectID
	}
	s.mu.Unlock()
	if !allowed {
		s.replyJSON(w, name+" token", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "authentication required"}}})
		return
	}
	s.replyJSON(w, name+" token", http.StatusOK, map[string]string{"access_token": token})
}

// handlePull forwards a request with a valid access token to the upstream registry.
func (s *Server) handlePull(w http.ResponseWriter, r *http.Request, name string) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	_, allowed := s.accessTokens[name+" "+token]
	s.mu.Unlock()
	if !allowed {
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		w.Header().Set("WWW-Authenticate",
			fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%[1]s",scope="repository:%s:pull"`, r.Host,
				repository))
		s.replyJSON(w, name+" pull", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "authentication required"}}})
		return
	}
	s.incrementCounter(name + " pull 200")
	s.Images.ServeHTTP(w, r)
}

func (s *Server) replyJSON(w http.ResponseWriter, what string, status int, body any) {
	s.incrementCounter(fmt.Sprintf("%s %d", what, status))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) incrementCounter(name string) {
	if s.Count != nil {
		s.Count("registry " + name)
	}
}
