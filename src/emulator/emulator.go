package emulator

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/emulator/acr"
	"github.com/akv2k8s/akv2k8s/src/emulator/entra"
	"github.com/akv2k8s/akv2k8s/src/emulator/imds"
	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
)

// Emulator emulates the Azure services that the product uses.
type Emulator struct {
	Directory *entra.Directory
	Vaults    *keyvault.Store
	// Registries serves all registries, with the same images.
	Registries *acr.Server

	mu          sync.Mutex
	counters    map[string]int
	vaultServer *keyvault.Server
}

// New creates an emulator with one empty tenant. The argument tenant is its id, a UUID.
func New(tenant string, now func() time.Time) (*Emulator, error) {
	e := &Emulator{Vaults: keyvault.NewStore(now), counters: map[string]int{}}
	directory, err := entra.New(tenant, now, e.incrementCounter)
	if err != nil {
		return nil, err
	}
	e.Directory = directory
	e.vaultServer = &keyvault.Server{Store: e.Vaults, Tokens: directory, Tenant: tenant, Count: e.incrementCounter}
	e.Registries = &acr.Server{Tokens: directory, Images: acr.NewImageRegistry(), Count: e.incrementCounter}
	return e, nil
}

// AzureHandler returns the handler for vaults, registries and login hosts. The Host header selects the service.
func (e *Emulator) AzureHandler() http.Handler {
	login := e.Directory.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "login.") {
			login.ServeHTTP(w, r)
			return
		}
		if _, suffix, _ := strings.Cut(r.Host, "."); strings.HasPrefix(suffix, "azurecr.") {
			e.Registries.ServeHTTP(w, r)
			return
		}
		e.vaultServer.ServeHTTP(w, r)
	})
}

// MetadataHandler returns the handler for 169.254.169.254.
func (e *Emulator) MetadataHandler() http.Handler { return imds.Handler(e.Directory) }

func (e *Emulator) incrementCounter(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counters[name]++
}

// Counters returns the number of responses by name, such as "VAULT OPERATION STATUS" and "token FLOW PRINCIPAL STATUS".
func (e *Emulator) Counters() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	copied := make(map[string]int, len(e.counters))
	for name, n := range e.counters {
		copied[name] = n
	}
	return copied
}

// ResetCounters sets all counters to zero.
func (e *Emulator) ResetCounters() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.counters)
}

// Seed is an initial state of the emulator.
type Seed struct {
	Principals []entra.Principal    `json:"principals"`
	Vaults     map[string]VaultSeed `json:"vaults"`
}

// VaultSeed is the initial state of one vault.
type VaultSeed struct {
	// Permissions are the allowed operations by the object id of a principal.
	Permissions map[string][]string        `json:"permissions"`
	Secrets     map[string]keyvault.Secret `json:"secrets"`
	// Certificates and Keys get a new version each time the seed is applied.
	Certificates map[string]keyvault.Certificate `json:"certificates,omitempty"`
	Keys         map[string]keyvault.Key         `json:"keys,omitempty"`
	// Firewall denies all requests to the vault.
	Firewall bool `json:"firewall,omitempty"`
}

// ApplySeed adds a seed to the current state. A secret whose latest version has the same value gets no new version. It
// returns the errors of certificates and keys that can't be parsed.
func (e *Emulator) ApplySeed(seed Seed) error {
	var all error
	for _, principal := range seed.Principals {
		e.Directory.Register(principal)
	}
	for name, vault := range seed.Vaults {
		e.Vaults.SetFirewall(name, vault.Firewall)
		for objectID, operations := range vault.Permissions {
			e.Vaults.SetPermissions(name, objectID, operations)
		}
		for secret, content := range vault.Secrets {
			e.Vaults.EnsureSecret(name, secret, content)
		}
		for certificate, content := range vault.Certificates {
			all = errors.Join(all, e.Vaults.PutCertificate(name, certificate, content))
		}
		for key, content := range vault.Keys {
			all = errors.Join(all, e.Vaults.PutKey(name, key, content))
		}
	}
	return all
}
