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

// audience is what tokens have to be for.
const audience = "https://containerregistry.azure.net"

// Tokens checks tokens of the identity service.
type Tokens interface {
	Verify(token, audience string) (objectID string, err error)
}

// Server is every registry of a cloud, by the Host header.
type Server struct {
	Tokens Tokens
	// Images is the registry behind, without authentication.
	Images http.Handler
	// Count is told of each answer.
	Count func(name string)

	mu sync.Mutex
	// pulling are object ids that may pull, by registry; refresh and access are tokens that were given, and to whom.
	pulling         map[string][]string
	refresh, access map[string]string
}

// Permit lets principals pull from a registry; it is there from then on.
func (s *Server) Permit(registry string, objectIDs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pulling == nil {
		s.pulling, s.refresh, s.access = map[string][]string{}, map[string]string{}, map[string]string{}
	}
	s.pulling[registry] = objectIDs
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.Host, ".")
	s.mu.Lock()
	_, exists := s.pulling[name]
	s.mu.Unlock()
	switch {
	case !exists:
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/oauth2/exchange":
		s.exchange(w, r, name)
	case r.URL.Path == "/oauth2/token":
		s.token(w, r, name)
	default:
		s.pull(w, r, name)
	}
}

// exchange gives a refresh token to whoever the identity service knows.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, name string) {
	objectID, err := s.Tokens.Verify(r.FormValue("access_token"), audience)
	if err != nil || r.FormValue("grant_type") != "access_token" || r.FormValue("service") != r.Host {
		s.answer(w, name+" exchange", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "the token is not valid"}}})
		return
	}
	token := rand.Text()
	s.mu.Lock()
	s.refresh[name+" "+token] = objectID
	s.mu.Unlock()
	s.answer(w, name+" exchange", http.StatusOK, map[string]string{"refresh_token": token})
}

// token gives an access token for a refresh token whose principal may pull.
func (s *Server) token(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	objectID, known := s.refresh[name+" "+r.FormValue("refresh_token")]
	allowed := known && slices.Contains(s.pulling[name], objectID)
	token := rand.Text()
	if allowed {
		s.access[name+" "+token] = objectID
	}
	s.mu.Unlock()
	if !allowed {
		s.answer(w, name+" token", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "authentication required"}}})
		return
	}
	s.answer(w, name+" token", http.StatusOK, map[string]string{"access_token": token})
}

// pull hands on what a token allows.
func (s *Server) pull(w http.ResponseWriter, r *http.Request, name string) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	_, allowed := s.access[name+" "+token]
	s.mu.Unlock()
	if !allowed {
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		w.Header().Set("WWW-Authenticate",
			fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%[1]s",scope="repository:%s:pull"`, r.Host,
				repository))
		s.answer(w, name+" pull", http.StatusUnauthorized,
			map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED",
				"message": "authentication required"}}})
		return
	}
	s.count(name + " pull 200")
	s.Images.ServeHTTP(w, r)
}

func (s *Server) answer(w http.ResponseWriter, what string, status int, body any) {
	s.count(fmt.Sprintf("%s %d", what, status))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) count(name string) {
	if s.Count != nil {
		s.Count("registry " + name)
	}
}
