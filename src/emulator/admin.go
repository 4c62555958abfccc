package emulator

import (
	"encoding/json"
	"net/http"

	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// AdminHandler returns the handler that controls the emulator over HTTP with JSON bodies:
//
//	GET    /healthz
//	POST   /seed                                   add principals, vaults, permissions and secrets (Seed)
//	PUT    /vaults/VAULT/secrets/NAME              add a version (keyvault.Secret)
//	PUT    /vaults/VAULT/certificates/NAME         add a version (keyvault.Certificate), with its key and secret
//	PUT    /vaults/VAULT/keys/NAME                 add a version (keyvault.Key)
//	POST   /vaults/VAULT/secrets/NAME/disable      and /enable, /delete
//	PUT    /vaults/VAULT/permissions/OBJECTID      the allowed operations, a list that replaces the former one
//	PUT    /vaults/VAULT/firewall                  true or false
//	PUT    /vaults/VAULT/private                   true or false: accept connections through a private endpoint only
//	PUT    /registries/REGISTRY/pull               the object ids that can pull; creates the registry
//	PUT    /images/TAG/REPOSITORY                  add an image to all registries (acr.Image)
//	POST   /faults                                 add a keyvault.Fault; DELETE removes all, or those of ?vault=
//	GET    /counters                               counters by name; DELETE sets them to zero
func (e *Emulator) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { replyJSON(w, http.StatusOK, "ok") })
	mux.HandleFunc("POST /seed", withBody(func(_ *http.Request, seed Seed) bool { return e.ApplySeed(seed) == nil }))
	mux.HandleFunc("PUT /vaults/{vault}/secrets/{name}", withBody(func(r *http.Request, secret keyvault.Secret) bool {
		return e.Vaults.PutSecret(r.PathValue("vault"), r.PathValue("name"), secret) != ""
	}))
	mux.HandleFunc("PUT /vaults/{vault}/certificates/{name}",
		withBody(func(r *http.Request, c keyvault.Certificate) bool {
			return e.Vaults.PutCertificate(r.PathValue("vault"), r.PathValue("name"), c) == nil
		}))
	mux.HandleFunc("PUT /vaults/{vault}/keys/{name}", withBody(func(r *http.Request, k keyvault.Key) bool {
		return e.Vaults.PutKey(r.PathValue("vault"), r.PathValue("name"), k) == nil
	}))
	mux.HandleFunc("POST /vaults/{vault}/secrets/{name}/{action}", e.handleSecretAction)
	mux.HandleFunc("PUT /vaults/{vault}/permissions/{principal}",
		withBody(func(r *http.Request, operations []string) bool {
			e.Vaults.SetPermissions(r.PathValue("vault"), r.PathValue("principal"), operations)
			return true
		}))
	mux.HandleFunc("PUT /vaults/{vault}/firewall", withBody(func(r *http.Request, closed bool) bool {
		e.Vaults.SetFirewall(r.PathValue("vault"), closed)
		return true
	}))
	mux.HandleFunc("PUT /vaults/{vault}/private", withBody(func(r *http.Request, closed bool) bool {
		e.Vaults.SetPrivateOnly(r.PathValue("vault"), closed)
		return true
	}))
	mux.HandleFunc("PUT /registries/{registry}/pull", withBody(func(r *http.Request, objectIDs []string) bool {
		e.Registries.AllowPull(r.PathValue("registry"), objectIDs...)
		return true
	}))
	mux.HandleFunc("PUT /images/{tag}/{repository...}", withBody(func(r *http.Request, image acr.Image) bool {
		return e.Registries.PutImage(r.PathValue("repository"), r.PathValue("tag"), image) == nil
	}))
	mux.HandleFunc("POST /faults", withBody(func(_ *http.Request,
		f keyvault.Fault) bool {
		e.Vaults.AddFault(f)
		return true
	}))
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, r *http.Request) {
		e.Vaults.RemoveFaults(r.URL.Query().Get("vault"))
		replyJSON(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter,
		_ *http.Request) {
		replyJSON(w, http.StatusOK, e.Counters())
	})
	mux.HandleFunc("DELETE /counters", func(w http.ResponseWriter,
		_ *http.Request) {
		e.ResetCounters()
		replyJSON(w, http.StatusOK, "ok")
	})
	return mux
}

// withBody decodes the JSON body for an action. The action returns false if its target does not exist.
func withBody[T any](act func(*http.Request, T) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
			replyJSON(w, http.StatusBadRequest, "the body is not valid JSON for "+r.URL.Path)
			return
		}
		replyFound(w, act(r, body))
	}
}

func (e *Emulator) handleSecretAction(w http.ResponseWriter, r *http.Request) {
	vault, name := r.PathValue("vault"), r.PathValue("name")
	switch r.PathValue("action") {
	case "disable":
		replyFound(w, e.Vaults.ChangeSecret(vault, name, func(s *keyvault.Secret) { s.Disabled = true }))
	case "enable":
		replyFound(w, e.Vaults.ChangeSecret(vault, name, func(s *keyvault.Secret) { s.Disabled = false }))
	case "delete":
		replyFound(w, e.Vaults.DeleteSecret(vault, name))
	default:
		replyFound(w, false)
	}
}

func replyFound(w http.ResponseWriter, ok bool) {
	if !ok {
		replyJSON(w, http.StatusNotFound, "not found")
		return
	}
	replyJSON(w, http.StatusOK, "ok")
}

func replyJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
