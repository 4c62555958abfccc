package output

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// An output is either exclusive or shared. An exclusive output has owner references and is deleted with its resources.
// A shared output also holds data of other owners or tools, or another tool manages it as a whole. A shared output has
// no owner reference, because the garbage collector would delete the whole object. Instead, an annotation for each
// resource lists the resource's data keys. With it, the keys are found when the resource is deleted, and hand-made
// edits of these keys are distinguished from keys that existed before.

// KeyOwnership describes the data keys of one resource in a shared output.
type KeyOwnership struct {
	// ResourceName is the name of the resource.
	ResourceName string
	// Keys are the data keys of the resource.
	Keys map[string]bool
}

// KeyOwnerships parses the annotations of a shared output, by uid of the resource. The result is empty for an exclusive
// output.
func KeyOwnerships(annotations map[string]string) map[string]KeyOwnership {
	shares := map[string]KeyOwnership{}
	for annotation, text := range annotations {
		uid, ok := strings.CutPrefix(annotation, wire.AnnotationKeysPrefix)
		if !ok {
			continue
		}
		name, list, _ := strings.Cut(text, ownershipSeparator)
		shares[uid] = KeyOwnership{ResourceName: name, Keys: parseKeyList(list)}
	}
	return shares
}

// ownershipSeparator separates the name of the resource from its data keys in the annotation. Neither can contain it.
const ownershipSeparator = ": "

// AsShared returns the output in the form that is applied to a shared object: without an owner reference, and with the
// annotation that lists the data keys.
func (d Desired) AsShared() Desired {
	d.Shared = true
	d.Annotations = maps.Clone(d.Annotations)
	keys := slices.Sorted(maps.Keys(d.Data))
	d.Annotations[wire.AnnotationKeysPrefix+string(d.Owner.UID)] = d.Owner.Name + ownershipSeparator +
		strings.Join(keys, ",")
	return d
}

// KeysAnnotationSize returns the size of the annotation that AsShared adds, in bytes.
func (d Desired) KeysAnnotationSize() int {
	size := len(d.Owner.Name) + len(ownershipSeparator)
	for key := range d.Data {
		size += len(key) + 1
	}
	return size
}

// parseAdoptAnnotation parses the annotation that lets akv2k8s write into an existing object. "true" allows new data
// keys; a list of data keys, separated by commas, also allows overwriting these keys.
func parseAdoptAnnotation(live Live) (adopted bool, keys map[string]bool) {
	switch text := live.Annotations[wire.AnnotationAdopt]; text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return true, parseKeyList(text)
	}
}

func parseKeyList(list string) map[string]bool {
	keys := map[string]bool{}
	for key := range strings.SplitSeq(list, ",") {
		if key = strings.TrimSpace(key); key != "" {
			keys[key] = true
		}
	}
	return keys
}

// HasForeignData reports whether the object holds data of others, or another tool manages it as a whole. If the object
// already belongs to the owner, a desired data key counts as the owner's even if somebody edited it by hand and another
// manager owns it now.
func HasForeignData(live Live, d Desired) bool {
	if live.Annotations[wire.AnnotationAdopt] != "" || len(KeyOwnerships(live.Annotations)) > 0 {
		return true
	}
	known, ours := isOwnedBy(live, d.Owner), keysOfOurManagers(live)
	for key := range live.Data {
		if _, wanted := d.Data[key]; !ours[key] && (!known || !wanted) {
			return true
		}
	}
	return isManagedByOtherTool(live)
}

// IsEmptyAndUnowned reports whether the object holds no data and no owner or other tool has fields in it.
func IsEmptyAndUnowned(live Live) bool {
	return foreignFields(live).Empty() && !hasForeignOwner(live) && live.Annotations[wire.AnnotationAdopt] == "" &&
		len(live.Data) == 0 &&
		len(ownedKeysByManager(live.ManagedFields)) == 0
}

// isManagedByOtherTool reports whether another tool manages the object as a whole: it wrote the type, uses tracking
// metadata, or has an owner reference. A tool that only adds a label does not count.
func isManagedByOtherTool(live Live) bool {
	if hasForeignOwner(live) {
		return true
	}
	whole := false
	foreignFields(live).Iterate(func(path fieldpath.Path) {
		text, ok := fieldNames(path)
		switch {
		case !ok:
		case len(text) == 1 && (text[0] == "type" || text[0] == "immutable"):
			whole = true
		case len(text) == 3 && text[0] == "metadata" && (text[1] == "labels" || text[1] == "annotations"):
			whole = whole || isTrackingKey(text[2])
		}
	})
	return whole
}

func hasForeignOwner(live Live) bool {
	return len(live.OwnerReferences) > len(OwnerNames(live.OwnerReferences))
}

// foreignFields returns the fields that belong neither to our managers nor to akv2k8s 1.8. An entry that can't be
// parsed is skipped: its data keys still count as foreign, because they are not ours.
func foreignFields(live Live) *fieldpath.Set {
	fields, legacy := fieldpath.NewSet(), v1EntryIndex(live.ManagedFields)
	for i, entry := range live.ManagedFields {
		if i == legacy || entry.FieldsV1 == nil || strings.HasPrefix(entry.Manager, wire.FieldManagerPrefix) {
			continue
		}
		var set fieldpath.Set
		if set.FromJSON(entry.FieldsV1.GetRawReader()) == nil {
			fields = fields.Union(&set)
		}
	}
	return fields
}

// keysOfOurManagers returns the data keys that our managers applied or that akv2k8s 1.8 wrote.
func keysOfOurManagers(live Live) keyNames {
	keys := keyNames{}
	if at := v1EntryIndex(live.ManagedFields); at >= 0 {
		maps.Copy(keys, ownedKeysOfEntry(live.ManagedFields[at]).data)
	}
	for _, fields := range ownedKeysByManager(live.ManagedFields) {
		maps.Copy(keys, fields.data)
	}
	return keys
}

// isOwnedBy reports whether the object already belongs to the owner.
func isOwnedBy(live Live, owner Owner) bool {
	return HasFieldsOf(live, string(owner.UID)) || slices.Contains(OwnerUIDs(live.OwnerReferences), string(owner.UID))
}

// ForeignDataKeys returns the desired data keys that existed before in the object, come from others, and were not
// adopted by annotation. Applying them would overwrite data that nobody can restore.
func ForeignDataKeys(live Live, d Desired) (keys []string) {
	share, shared := KeyOwnerships(live.Annotations)[string(d.Owner.UID)]
	if !shared && isOwnedBy(live, d.Owner) {
		return nil // exclusive until now: hand-made edits are reverted
	}
	ours := keysOfOurManagers(live)
	_, adopted := parseAdoptAnnotation(live)
	for _, key := range slices.Sorted(maps.Keys(d.Data)) {
		if _, there := live.Data[key]; there && !ours[key] && !share.Keys[key] && !adopted[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// AdoptAnnotationValue returns the value of the adopt annotation that adds these data keys to the ones that were
// already adopted.
func AdoptAnnotationValue(live Live, keys []string) string {
	_, all := parseAdoptAnnotation(live)
	union := maps.Clone(all)
	if union == nil {
		union = map[string]bool{}
	}
	for _, key := range keys {
		union[key] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(union)), ",")
}

// fieldNames returns a path as text; false if it contains anything but field names.
func fieldNames(path fieldpath.Path) ([]string, bool) {
	text := make([]string, len(path))
	for i, element := range path {
		if element.FieldName == nil {
			return nil, false
		}
		text[i] = *element.FieldName
	}
	return text, true
}
