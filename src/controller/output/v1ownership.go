package output

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// akv2k8s 1.8 wrote its outputs by Update, with one field manager for all resources. That manager's entry must be
// removed once every resource has applied its own part; otherwise the keys that only this entry owns would never be
// deleted. client-go's csaupgrade would transfer the whole entry to the first resource, and the next apply of that
// resource would delete the keys of the others.

// v1EntryIndex returns the index of the 1.8 entry in managedFields; -1 if there is none.
func v1EntryIndex(entries []metav1.ManagedFieldsEntry) int {
	return slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == wire.V1FieldManager && e.Operation == metav1.ManagedFieldsOperationUpdate &&
			e.Subresource == ""
	})
}

// HasV1Fields reports whether the object still has the 1.8 entry.
func HasV1Fields(live Live) bool { return v1EntryIndex(live.ManagedFields) >= 0 }

// patchOperation is one operation of a JSON patch (RFC 6902).
type patchOperation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// DropV1OwnershipPatch returns the JSON patch that removes the 1.8 entry from managedFields, and the data, labels and
// annotations that no other manager owns. The patch fails if the object has changed since it was read.
func DropV1OwnershipPatch(live Live) ([]byte, error) {
	at := v1EntryIndex(live.ManagedFields)
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
	patch := []patchOperation{{"test", "/metadata/resourceVersion", live.ResourceVersion},
		{"remove", jsonPointer("metadata", "managedFields", formatIndex(at)), nil}}
	legacy.Difference(others).Iterate(func(path fieldpath.Path) {
		if text, ok := mapEntryPath(path); ok {
			patch = append(patch, patchOperation{"remove", jsonPointer(text...), nil})
		}
	})
	return json.Marshal(patch)
}

// DropOwnerReferencesPatch returns the JSON patch that removes all owner references to AzureKeyVaultSecrets; nil if
// there are none. All of them are removed at once, because the garbage collector deletes an object as soon as none of
// its owners exists. The patch fails if the object has changed since it was read.
func DropOwnerReferencesPatch(live Live) ([]byte, error) {
	patch := []patchOperation{{"test", "/metadata/resourceVersion", live.ResourceVersion}}
	for i, ref := range slices.Backward(live.OwnerReferences) {
		if isOurOwnerReference(ref) {
			patch = append(patch, patchOperation{"remove", jsonPointer("metadata", "ownerReferences", formatIndex(i)),
				nil})
		}
	}
	if len(patch) == 1 {
		return nil, nil
	}
	return json.Marshal(patch)
}

func formatIndex(i int) string {
	content, _ := json.Marshal(i) // a number can't fail
	return string(content)
}

// mapEntryPath returns the path if it is an entry of data, binaryData, labels or annotations.
func mapEntryPath(path fieldpath.Path) ([]string, bool) {
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

// jsonPointer returns a JSON pointer (RFC 6901).
func jsonPointer(path ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var out strings.Builder
	for _, part := range path {
		out.WriteString("/" + escape.Replace(part))
	}
	return out.String()
}
