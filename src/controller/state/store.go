package state

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Store holds what is remembered of each resource. It is safe for concurrent use; the zero value is empty.
type Store struct {
	mu        sync.Mutex
	resources map[types.NamespacedName]record
	// users maps vault objects to the resources whose last successful sync read them.
	users map[keyvault.Ref]map[types.NamespacedName]bool
}

// record is the entry of a resource.
type record struct {
	Resource
	// refreshRequestedAt is the time of a refresh request that came after the last sync began. That sync may have read
	// the old value, so its schedule must not delay the requested refresh.
	refreshRequestedAt time.Time
}

// Get returns what is remembered of a resource; zero if nothing is.
func (s *Store) Get(name types.NamespacedName) Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resources[name].Resource
}

// BeginSync marks the start of a sync, which serves all earlier refresh requests, and returns what is remembered.
func (s *Store) BeginSync(name types.NamespacedName) Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.resources[name]
	if ok {
		entry.refreshRequestedAt = time.Time{}
		s.resources[name] = entry
	}
	return entry.Resource
}

// Put remembers a resource and returns what it remembers: the refresh is due at once if one was requested meanwhile.
func (s *Store) Put(name types.NamespacedName, r Resource) Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resources == nil {
		s.resources = map[types.NamespacedName]record{}
	}
	before := s.resources[name]
	if at := before.refreshRequestedAt; !at.IsZero() && at.Before(r.RefreshAt) {
		r.RefreshAt = at
	}
	s.replaceObjects(name, before.Objects, r.Objects)
	s.resources[name] = record{r, before.refreshRequestedAt}
	return r
}

// Remove forgets a resource.
func (s *Store) Remove(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaceObjects(name, s.resources[name].Objects, nil)
	delete(s.resources, name)
}

// RequestRefresh makes the next refresh of each resource that uses a vault object due, and returns the names of these
// resources, in no particular order.
func (s *Store) RequestRefresh(object keyvault.Ref, now time.Time) (names []types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.users[object] {
		entry := s.resources[name]
		entry.RefreshAt, entry.refreshRequestedAt = now, now
		s.resources[name] = entry
		names = append(names, name)
	}
	return names
}

// All returns a copy of what is remembered, by resource.
func (s *Store) All() map[types.NamespacedName]Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[types.NamespacedName]Resource, len(s.resources))
	for name, entry := range s.resources {
		all[name] = entry.Resource
	}
	return all
}

// replaceObjects replaces the vault objects of a resource in users. The caller holds mu.
func (s *Store) replaceObjects(name types.NamespacedName, before, after []keyvault.Ref) {
	if slices.Equal(before, after) {
		return
	}
	for _, object := range before {
		if delete(s.users[object], name); len(s.users[object]) == 0 {
			delete(s.users, object)
		}
	}
	if s.users == nil {
		s.users = map[keyvault.Ref]map[types.NamespacedName]bool{}
	}
	for _, object := range after {
		if s.users[object] == nil {
			s.users[object] = map[types.NamespacedName]bool{}
		}
		s.users[object][name] = true
	}
}
