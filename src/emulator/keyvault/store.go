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
	// public is what a certificate or key of that version answers, without its attributes.
	public map[string]any
}

// object is a secret with all its versions, the newest last.
type object struct {
	name     string
	versions []*Secret
	deleted  time.Time
}

func (o *object) find(version string) *Secret {
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
	// publics are certificates and keys, by "certificates/NAME" and "keys/NAME".
	publics map[string]*object
	// permissions are operations by the object id of a principal.
	permissions map[string][]string
	firewall    bool
	// private vaults take connections from their private endpoint alone.
	private bool
}

// Store holds vaults. It is safe for concurrent use.
type Store struct {
	// Now tells the time.
	Now func() time.Time

	mu     sync.Mutex
	vaults map[string]*vault
	faults []*Fault
}

// NewStore makes an empty store.
func NewStore(now func() time.Time) *Store { return &Store{Now: now, vaults: map[string]*vault{}} }

// vault gives or makes a vault; the caller holds mu.
func (s *Store) vault(name string) *vault {
	v, ok := s.vaults[name]
	if !ok {
		v = &vault{name: name, objects: map[string]*object{}, publics: map[string]*object{},
			permissions: map[string][]string{}}
		s.vaults[name] = v
	}
	return v
}

// Permit gives a principal these operations on a vault (get, list, set, delete, recover, purge; certificates/get and
// /list, keys/get and /list) and no others.
func (s *Store) Permit(vaultName, objectID string, operations []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vault(vaultName).permissions[objectID] = operations
}

// Firewall closes a vault to everybody, or opens it.
func (s *Store) Firewall(vaultName string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vault(vaultName).firewall = closed
}

// Private closes a vault to everybody who does not come by its private endpoint, which is everybody here, or opens it.
func (s *Store) Private(vaultName string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vault(vaultName).private = closed
}

// Put adds a version of a secret and gives its id.
func (s *Store) Put(vaultName, name string, secret Secret) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(s.vault(vaultName), name, secret).version
}

// Ensure adds a version of a secret unless the newest one has that value already.
func (s *Store) Ensure(vaultName, name string, secret Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vault(vaultName)
	if o, ok := v.objects[name]; ok && o.deleted.IsZero() && o.find("").Value == secret.Value {
		return
	}
	s.put(v, name, secret)
}

func (s *Store) put(v *vault, name string, secret Secret) *Secret {
	s.stamp(&secret)
	o, ok := v.objects[name]
	if !ok {
		o = &object{name: name}
		v.objects[name] = o
	}
	o.deleted = time.Time{}
	o.versions = append(o.versions, &secret)
	return &secret
}

// stamp makes a version of its own.
func (s *Store) stamp(secret *Secret) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	secret.version, secret.created, secret.updated = hex.EncodeToString(id), s.Now().UTC(), s.Now().UTC()
}

// Change edits the newest version of a secret; false if there is none.
func (s *Store) Change(vaultName, name string, edit func(*Secret)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.vault(vaultName).objects[name]
	if !ok {
		return false
	}
	edit(o.find(""))
	o.find("").updated = s.Now().UTC()
	return true
}

// Delete soft-deletes a secret; false if there is none.
func (s *Store) Delete(vaultName, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.vault(vaultName).objects[name]
	if ok {
		o.deleted = s.Now().UTC()
	}
	return ok
}
