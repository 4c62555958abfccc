package usage

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Index finds the resources that read a vault object. It is safe for concurrent use; the zero value is empty.
type Index struct {
	mu       sync.Mutex
	byObject map[keyvault.Ref]map[types.NamespacedName]bool
	of       map[types.NamespacedName][]keyvault.Ref
}

// Set replaces the vault objects of a resource. An empty list removes the resource.
func (x *Index) Set(name types.NamespacedName, objects []keyvault.Ref) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.of == nil {
		x.byObject, x.of = map[keyvault.Ref]map[types.NamespacedName]bool{}, map[types.NamespacedName][]keyvault.Ref{}
	}
	for _, object := range x.of[name] {
		if delete(x.byObject[object], name); len(x.byObject[object]) == 0 {
			delete(x.byObject, object)
		}
	}
	delete(x.of, name)
	if len(objects) > 0 {
		x.of[name] = objects
	}
	for _, object := range objects {
		if x.byObject[object] == nil {
			x.byObject[object] = map[types.NamespacedName]bool{}
		}
		x.byObject[object][name] = true
	}
}

// Of returns the resources that read a vault object, in no particular order.
func (x *Index) Of(object keyvault.Ref) (names []types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range x.byObject[object] {
		names = append(names, name)
	}
	return names
}
