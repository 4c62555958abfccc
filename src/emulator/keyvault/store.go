package keyvault

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// Secret is one version of a secret.
type Secret struct {
	Value       string            `json:"value"`
	ContentType string            `json:"contentType,omitempty"`
	Disabled    bool              `json:"disabled,omitempty"`
	NotBefore   time.Time         `json:"notBefore,omitzero"`
	Expires     time.Time         `json:"expires,omitzero"`
	Tags        map[string]string `json:"tags,omitempty"`

	version          string
	created, updated time.Time
	// managed secrets belong to a certificate.
	managed bool
	// publicBody is the response body of a certificate or key of that version, without attributes.
	publicBody map[string]any
}

// object is a secret, certificate or key with all its versions, the latest last.
type object struct {
	name     string
	versions []*Secret
	deleted  time.Time
}

func (o *object) findVersion(version string) *Secret {
	if version == "" {
		return o.versions[len(o.versions)-1]
	}
	if i := slices.IndexFunc(o.versions, func(s *Secret) bool { return s.version == version }); i >= 0 {
		return o.versions[i]
	}
	return nil
}

// vault is one vault.
type vault struct {
	name    string
	objects map[string]*object
	// publicObjects are certificates and keys, by "certificates/NAME" and "keys/NAME".
	publicObjects map[string]*object
	// permissions are the allowed operations by the object id of a principal.
	permissions map[string][]string
	firewall    bool
	// privateOnly vaults accept connections only through a private endpoint.
	privateOnly bool
}

// Store holds vaults. It is safe for concurrent use.
type Store struct {
	// Now returns the current time.
	Now func() time.Time

	mu     sync.Mutex
	vaults map[string]*vault
	faults []*Fault
}

// NewStore creates an empty store.
func NewStore(now func() time.Time) *Store { return &Store{Now: now, vaults: map[string]*vault{}} }

// getOrCreateVault returns the vault with the name, and creates it if needed. The caller holds the lock.
func (s *Store) getOrCreateVault(name string) *vault {
	v, ok := s.vaults[name]
	if !ok {
		v = &vault{name: name, objects: map[string]*object{}, publicObjects: map[string]*object{},
			permissions: map[string][]string{}}
		s.vaults[name] = v
	}
	return v
}

// SetPermissions sets the operations that a principal can perform on a vault: get, list, set, delete, recover, purge,
// certificates/get, certificates/list, keys/get and keys/list. It replaces the former ones.
func (s *Store) SetPermissions(vaultName, objectID string, operations []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getOrCreateVault(vaultName).permissions[objectID] = operations
}

// SetFirewall makes a vault deny all requests as by its firewall, or stops that.
func (s *Store) SetFirewall(vaultName string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getOrCreateVault(vaultName).firewall = closed
}

// SetPrivateOnly makes a vault deny all requests, as if it accepted only connections through a private endpoint, or
// stops that.
func (s *Store) SetPrivateOnly(vaultName string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getOrCreateVault(vaultName).privateOnly = closed
}

// PutSecret adds a version of a secret and returns the id of the version.
func (s *Store) PutSecret(vaultName, name string, secret Secret) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addSecretVersion(s.getOrCreateVault(vaultName), name, secret).version
}

// EnsureSecret adds a version of a secret, unless the latest version has the same value.
func (s *Store) EnsureSecret(vaultName, name string, secret Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.getOrCreateVault(vaultName)
	if o, ok := v.objects[name]; ok && o.deleted.IsZero() && o.findVersion("").Value == secret.Value {
		return
	}
	s.addSecretVersion(v, name, secret)
}

func (s *Store) addSecretVersion(v *vault, name string, secret Secret) *Secret {
	s.assignVersionID(&secret)
	o, ok := v.objects[name]
	if !ok {
		o = &object{name: name}
		v.objects[name] = o
	}
	o.deleted = time.Time{}
	o.versions = append(o.versions, &secret)
	return &secret
}

// assignVersionID sets a new version id and the creation time.
func (s *Store) assignVersionID(secret *Secret) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	secret.version, secret.created, secret.updated = hex.EncodeToString(id), s.Now().UTC(), s.Now().UTC()
}

// ChangeSecret edits the latest version of a secret. It returns false if the secret does not exist.
func (s *Store) ChangeSecret(vaultName, name string, edit func(*Secret)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.getOrCreateVault(vaultName).objects[name]
	if !ok {
		return false
	}
	edit(o.findVersion(""))
	o.findVersion("").updated = s.Now().UTC()
	return true
}

// DeleteSecret soft-deletes a secret. It returns false if the secret does not exist.
func (s *Store) DeleteSecret(vaultName, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.getOrCreateVault(vaultName).objects[name]
	if ok {
		o.deleted = s.Now().UTC()
	}
	return ok
}
