package store

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// StripMetadata removes everything from an output's metadata that the controller does not read from the cache. It keeps
// the identity, the version, the owners, and the annotations of the resources that share the output.
func StripMetadata(object any) (any, error) {
	if o, err := meta.Accessor(object); err == nil { // a tombstone has none
		o.SetManagedFields(nil)
		o.SetLabels(nil)
		kept := maps.Clone(o.GetAnnotations())
		maps.DeleteFunc(kept, func(key, _ string) bool { return !strings.HasPrefix(key, wire.AnnotationKeysPrefix) })
		if len(kept) == 0 {
			kept = nil
		}
		o.SetAnnotations(kept)
	}
	return object, nil
}
