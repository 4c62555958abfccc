package output

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// The predecessor wrote its outputs by Update, as one manager for all resources. Once each of them has applied its own
// part, that manager's entry has to go: what it owns alone would stay for ever. client-go's csaupgrade would give all
// of it to the first resource, whose next apply would then delete the keys of the others.

// legacyEntry is where the predecessor's entry is among the managed fields, -1 if there is none.
func legacyEntry(entries []metav1.ManagedFieldsEntry) int {
	return slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == wire.LegacyManager && e.Operation == metav1.ManagedFieldsOperationUpdate &&
			e.Subresource == ""
	})
}

// IsLegacy says whether the predecessor's entry is still there.
func IsLegacy(live Live) bool { return legacyEntry(live.ManagedFields) >= 0 }

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Succeed is the JSON patch that ends the predecessor's share of the object as it was read: its entry, and the data,
// labels and annotations that nobody else owns.
func Succeed(live Live) ([]byte, error) {
	at := legacyEntry(live.ManagedFields)
	others := fieldpath.NewSet()
	legacy := fieldpath.NewSet()
	for i, entry := range live.ManagedFields {
		if entry.FieldsV1 == nil {
			continue
		}
		var set fieldpath.Set
		if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return nil, err
		}
		if i == at {
			legacy = &set
		} else {
			others = others.Union(&set)
		}
	}
	patch := []operation{{"test", "/metadata/resourceVersion", live.ResourceVersion},
		{"remove", pointer("metadata", "managedFields", index(at)), nil}}
	legacy.Difference(others).Iterate(func(path fieldpath.Path) {
		if text, ok := inMap(path); ok {
			patch = append(patch, operation{"remove", pointer(text...), nil})
		}
	})
	return json.Marshal(patch)
}

// DropReferences is the JSON patch that removes every owner reference of ours from the object as it was read; nil if it
// has none. All of them go at once: the garbage collector deletes an object as soon as none of its remaining owners
// exists.
func DropReferences(live Live) ([]byte, error) {
	patch := []operation{{"test", "/metadata/resourceVersion", live.ResourceVersion}}
	for i, ref := range slices.Backward(live.OwnerReferences) {
		if isOurs(ref) {
			patch = append(patch, operation{"remove", pointer("metadata", "ownerReferences", index(i)), nil})
		}
	}
	if len(patch) == 1 {
		return nil, nil
	}
	return json.Marshal(patch)
}

func index(i int) string {
	content, _ := json.Marshal(i) // a number can't fail
	return string(content)
}

// inMap gives the path of an entry of data, binaryData, labels or annotations.
func inMap(path fieldpath.Path) ([]string, bool) {
	text, ok := fieldNames(path)
	switch {
	case !ok:
		return nil, false
	case len(text) == 2 && (text[0] == "data" || text[0] == "binaryData"):
	case len(text) == 3 && text[0] == "metadata" && (text[1] == "labels" || text[1] == "annotations"):
	default:
		return nil, false
	}
	return text, true
}

// pointer is a JSON pointer (RFC 6901).
func pointer(path ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var out strings.Builder
	for _, part := range path {
		out.WriteString("/" + escape.Replace(part))
	}
	return out.String()
}
