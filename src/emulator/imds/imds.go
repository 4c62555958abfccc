package imds

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
)

// tokenLifetime is the lifetime of a managed identity's token, a day as in Azure.
const tokenLifetime = 24 * time.Hour

// Handler returns the handler for 169.254.169.254.
func Handler(d *entra.Directory) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metadata/instance", requireMetadataHeader(func(w http.ResponseWriter, _ *http.Request) {
		replyJSON(w, http.StatusOK, map[string]any{"compute": map[string]any{"azEnvironment": "AzurePublicCloud",
			"location": "westeurope"}})
	}))
	mux.HandleFunc("GET /metadata/identity/oauth2/token",
		requireMetadataHeader(func(w http.ResponseWriter, r *http.Request) { handleToken(d, w, r) }))
	return mux
}

// requireMetadataHeader rejects forwarded requests and requests without the Metadata header, as Azure does. A
// server-side request forgery can't set the header.
func requireMetadataHeader(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Metadata"), "true") || r.Header.Get("X-Forwarded-For") != "" {
			replyError(w, "Required metadata header not specified")
			return
		}
		next(w, r)
	}
}

func handleToken(d *entra.Directory, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	resource := strings.TrimSuffix(query.Get("resource"), "/")
	if resource == "" || query.Get("api-version") == "" {
		replyError(w, "Required query variable 'resource' or 'api-version' is missing")
		return
	}
	principal, ok := d.Find(func(p entra.Principal) bool {
		return p.IsAssignedAt(d.Now()) &&
			matchesQuery(p, query.Get)
	})
	if !ok && query.Get("client_id")+query.Get("object_id")+query.Get("msi_res_id")+query.Get("mi_res_id") == "" {
		users := 0
		_, _ = d.Find(func(p entra.Principal) bool {
			if p.IsAssignedAt(d.Now()) {
				principal, users = p, users+1
			}
			return false
		})
		if ok = users == 1; users > 1 {
			d.Count("token managed-identity several 400")
			replyError(w, "Multiple user assigned identities exist, please specify the clientId / resourceId of the "+
				"identity in the token request")
			return
		}
	}
	if !ok {
		d.Count("token managed-identity unknown 400")
		replyError(w, "Identity not found")
		return
	}
	if principal.MetadataStatus != 0 {
		d.Count("token managed-identity " + principal.Name + " " + strconv.Itoa(principal.MetadataStatus))
		replyJSON(w, principal.MetadataStatus,
			map[string]any{"error": "unknown", "error_description": "The service is unavailable"})
		return
	}
	signed, err := d.Issue(principal, resource, tokenLifetime)
	if err != nil {
		replyError(w, "The token could not be issued")
		return
	}
	d.Count("token managed-identity " + principal.Name + " 200")
	expires := d.Now().Add(tokenLifetime).Unix()
	replyJSON(w, http.StatusOK, map[string]any{"access_token": signed, "client_id": principal.ClientID,
		"token_type": "Bearer",
		"resource":   resource, "expires_in": strconv.Itoa(int(tokenLifetime.Seconds())),
		"ext_expires_in": strconv.Itoa(int(tokenLifetime.Seconds())),
		"expires_on":     strconv.FormatInt(expires, 10), "not_before": strconv.FormatInt(d.Now().Unix(), 10)})
}

// matchesQuery reports whether a principal is the requested identity: the user-assigned one with the client id, object
// id or resource id of the query, or else the system-assigned one.
func matchesQuery(p entra.Principal, ask func(string) string) bool {
	resourceID := ask("msi_res_id") + ask("mi_res_id")
	switch {
	case ask("client_id") != "":
		return p.ClientID == ask("client_id")
	case ask("object_id") != "":
		return p.ObjectID == ask("object_id")
	case resourceID != "":
		return p.ManagedIdentity == "user" && strings.EqualFold(p.ResourceID, resourceID)
	}
	return p.ManagedIdentity == "system"
}

func replyError(w http.ResponseWriter, text string) {
	replyJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": text})
}

func replyJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
