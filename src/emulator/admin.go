package emulator

import (
	"encoding/json"
	"net/http"

	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// Admin returns the handler that controls the emulator over HTTP with JSON bodies:
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
func (e *Emulator) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	mux.HandleFunc("POST /seed", with(func(_ *http.Request, seed Seed) bool { return e.Plant(seed) == nil }))
	mux.HandleFunc("PUT /vaults/{vault}/secrets/{name}", with(func(r *http.Request, secret keyvault.Secret) bool {
		return e.Vaults.Put(r.PathValue("vault"), r.PathValue("name"), secret) != ""
	}))
	mux.HandleFunc("PUT /vaults/{vault}/certificates/{name}", with(func(r *http.Request, c keyvault.Certificate) bool {
		return e.Vaults.PutCertificate(r.PathValue("vault"), r.PathValue("name"), c) == nil
	}))
	mux.HandleFunc("PUT /vaults/{vault}/keys/{name}", with(func(r *http.Request, k keyvault.Key) bool {
		return e.Vaults.PutKey(r.PathValue("vault"), r.PathValue("name"), k) == nil
	}))
	mux.HandleFunc("POST /vaults/{vault}/secrets/{name}/{action}", e.act)
	mux.HandleFunc("PUT /vaults/{vault}/permissions/{principal}", with(func(r *http.Request, operations []string) bool {
		e.Vaults.Permit(r.PathValue("vault"), r.PathValue("principal"), operations)
		return true
	}))
	mux.HandleFunc("PUT /vaults/{vault}/firewall", with(func(r *http.Request, closed bool) bool {
		e.Vaults.Firewall(r.PathValue("vault"), closed)
		return true
	}))
	mux.HandleFunc("PUT /vaults/{vault}/private", with(func(r *http.Request, closed bool) bool {
		e.Vaults.Private(r.PathValue("vault"), closed)
		return true
	}))
	mux.HandleFunc("PUT /registries/{registry}/pull", with(func(r *http.Request, objectIDs []string) bool {
		e.Registries.Permit(r.PathValue("registry"), objectIDs...)
		return true
	}))
	mux.HandleFunc("PUT /images/{tag}/{repository...}", with(func(r *http.Request, image acr.Image) bool {
		return e.Registries.Put(r.PathValue("repository"), r.PathValue("tag"), image) == nil
	}))
	mux.HandleFunc("POST /faults", with(func(_ *http.Request,
		f keyvault.Fault) bool {
		e.Vaults.Inject(f)
		return true
	}))
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, r *http.Request) {
		e.Vaults.Heal(r.URL.Query().Get("vault"))
		reply(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter,
		_ *http.Request) {
		reply(w, http.StatusOK, e.Counters())
	})
	mux.HandleFunc("DELETE /counters", func(w http.ResponseWriter,
		_ *http.Request) {
		e.ResetCounters()
		reply(w, http.StatusOK, "ok")
	})
	return mux
}

// with decodes the JSON body for an action. The action returns false if its target does not exist.
func with[T any](act func(*http.Request, T) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
			reply(w, http.StatusBadRequest, "the body is not valid JSON for "+r.URL.Path)
			return
		}
		found(w, act(r, body))
	}
}

func (e *Emulator) act(w http.ResponseWriter, r *http.Request) {
	vault, name := r.PathValue("vault"), r.PathValue("name")
	switch r.PathValue("action") {
	case "disable":
		found(w, e.Vaults.Change(vault, name, func(s *keyvault.Secret) { s.Disabled = true }))
	case "enable":
		found(w, e.Vaults.Change(vault, name, func(s *keyvault.Secret) { s.Disabled = false }))
	case "delete":
		found(w, e.Vaults.Delete(vault, name))
	default:
		found(w, false)
	}
}

func found(w http.ResponseWriter, ok bool) {
	if !ok {
		reply(w, http.StatusNotFound, "not found")
		return
	}
	reply(w, http.StatusOK, "ok")
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
