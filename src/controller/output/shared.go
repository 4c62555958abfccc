package output

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// An output is either wholly ours, with owner references, and goes with its resources; or it is shared: it also holds
// what others put there, or belongs to another tool as a whole. A shared output has no owner reference, because the
// garbage collector would delete all of it. A note in its annotations says whose keys are in it instead: the keys are
// found by it when the resource is deleted, and hand-made edits are told apart from keys that were there before.

// Share is what one resource has in a shared output.
type Share struct {
	// Name of the resource.
	Name string
	// Keys are its data keys.
	Keys map[string]bool
}

// Shares reads the notes of a shared output, by the uid of the resource. An output that is wholly ours has none.
func Shares(annotations map[string]string) map[string]Share {
	shares := map[string]Share{}
	for annotation, text := range annotations {
		uid, ok := strings.CutPrefix(annotation, wire.AnnotationKeysPrefix)
		if !ok {
			continue
		}
		name, list, _ := strings.Cut(text, noteSeparator)
		shares[uid] = Share{Name: name, Keys: keySet(list)}
	}
	return shares
}

// noteSeparator is between the resource's name and its keys; neither can contain it.
const noteSeparator = ": "

// AsShared is the output as it is applied to an object that also holds data of others.
func (d Desired) AsShared() Desired {
	d.Shared = true
	d.Annotations = maps.Clone(d.Annotations)
	keys := slices.Sorted(maps.Keys(d.Data))
	d.Annotations[wire.AnnotationKeysPrefix+string(d.Owner.UID)] = d.Owner.Name + noteSeparator +
		strings.Join(keys, ",")
	return d
}

// KeyNamesSize is the size of the note that AsShared writes.
func (d Desired) KeyNamesSize() int {
	size := len(d.Owner.Name) + len(noteSeparator)
	for key := range d.Data {
		size += len(key) + 1
	}
	return size
}

// adoption reads the annotation that hands an object over: "true" for what is not there yet, or a list of the data keys
// that may be overwritten.
func adoption(live Live) (adopted bool, keys map[string]bool) {
	switch text := live.Annotations[wire.AnnotationAdopt]; text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return true, keySet(text)
	}
}

func keySet(list string) map[string]bool {
	keys := map[string]bool{}
	for key := range strings.SplitSeq(list, ",") {
		if key = strings.TrimSpace(key); key != "" {
			keys[key] = true
		}
	}
	return keys
}

// HoldsOthers says whether the object holds data of others, or is managed by another tool as a whole. Data keys that
// the owner wants are its own where it had the object before: whoever edited them by hand owns them now.
func HoldsOthers(live Live, d Desired) bool {
	if live.Annotations[wire.AnnotationAdopt] != "" || len(Shares(live.Annotations)) > 0 {
		return true
	}
	known, ours := isKnown(live, d.Owner), ourKeys(live)
	for key := range live.Data {
		if _, wanted := d.Data[key]; !ours[key] && (!known || !wanted) {
			return true
		}
	}
	return managedByOthers(live)
}

// OnlyOurs says whether nobody but our own managers has anything in the object.
func OnlyOurs(live Live) bool {
	return foreignFields(live).Empty() && !hasForeignOwner(live) && live.Annotations[wire.AnnotationAdopt] == "" &&
		len(live.Data) == 0 &&
		len(ownedBy(live.ManagedFields)) == 0
}

// managedByOthers says whether another tool manages the object as a whole: it wrote its type, tracks it by metadata, or
// owns it by reference. Who only adds a label does not.
func managedByOthers(live Live) bool {
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
			whole = whole || tracking(text[2])
		}
	})
	return whole
}

func hasForeignOwner(live Live) bool {
	return len(live.OwnerReferences) > len(OwnerNames(live.OwnerReferences))
}

// foreignFields are the fields that managers other than ours and the predecessor's own. An entry that can't be read
// owns everything that is not ours anyway.
func foreignFields(live Live) *fieldpath.Set {
	fields, legacy := fieldpath.NewSet(), legacyEntry(live.ManagedFields)
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

// ourKeys are the data keys that any of our managers applied, or the predecessor wrote.
func ourKeys(live Live) names {
	keys := names{}
	if at := legacyEntry(live.ManagedFields); at >= 0 {
		maps.Copy(keys, fieldsOf(live.ManagedFields[at]).data)
	}
	for _, fields := range ownedBy(live.ManagedFields) {
		maps.Copy(keys, fields.data)
	}
	return keys
}

// isKnown says whether the object was the owner's before.
func isKnown(live Live, owner Owner) bool {
	return Applied(live, string(owner.UID)) || slices.Contains(OwnerUIDs(live.OwnerReferences), string(owner.UID))
}

// Contested are the desired data keys that others put into the object before, and that were not handed over. Applying
// them would overwrite what nobody can bring back.
func Contested(live Live, d Desired) (keys []string) {
	share, shared := Shares(live.Annotations)[string(d.Owner.UID)]
	if !shared && isKnown(live, d.Owner) {
		return nil // wholly ours until now: an edit by hand is repaired
	}
	ours := ourKeys(live)
	_, adopted := adoption(live)
	for _, key := range slices.Sorted(maps.Keys(d.Data)) {
		if _, there := live.Data[key]; there && !ours[key] && !share.Keys[key] && !adopted[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// AdoptionOf is the value of the adopt annotation that hands over these keys besides those that were handed over
// already.
func AdoptionOf(live Live, keys []string) string {
	_, all := adoption(live)
	union := maps.Clone(all)
	if union == nil {
		union = map[string]bool{}
	}
	for _, key := range keys {
		union[key] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(union)), ",")
}

// fieldNames gives a path that consists of field names alone.
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
