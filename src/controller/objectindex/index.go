package objectindex

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Index finds the resources that read a vault object. It is safe for concurrent use; the zero value is empty.
type Index struct {
	mu                sync.Mutex
	resourcesByObject map[keyvault.Ref]map[types.NamespacedName]bool
	objectsByResource map[types.NamespacedName][]keyvault.Ref
}

// SetObjects replaces the vault objects of a resource. An empty list removes the resource.
func (x *Index) SetObjects(name types.NamespacedName, objects []keyvault.Ref) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.objectsByResource == nil {
		x.resourcesByObject, x.objectsByResource = map[keyvault.Ref]map[types.NamespacedName]bool{},
			map[types.NamespacedName][]keyvault.Ref{}
	}
	for _, object := range x.objectsByResource[name] {
		if delete(x.resourcesByObject[object], name); len(x.resourcesByObject[object]) == 0 {
			delete(x.resourcesByObject, object)
		}
	}
	delete(x.objectsByResource, name)
	if len(objects) > 0 {
		x.objectsByResource[name] = objects
	}
	for _, object := range objects {
		if x.resourcesByObject[object] == nil {
			x.resourcesByObject[object] = map[types.NamespacedName]bool{}
		}
		x.resourcesByObject[object][name] = true
	}
}

// ResourcesUsing returns the resources that read a vault object, in no particular order.
func (x *Index) ResourcesUsing(object keyvault.Ref) (names []types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range x.resourcesByObject[object] {
		names = append(names, name)
	}
	return names
}
