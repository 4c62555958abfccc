package output

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Live is an output as read from the API server.
type Live struct {
	metav1.ObjectMeta
	Kind      Kind
	Type      corev1.SecretType
	Immutable bool
	Data      map[string][]byte
}

// IsInSync reports whether applying the desired output would change nothing: every desired field has its value, and the
// owner's field manager owns no other fields.
func IsInSync(live Live, d Desired) bool {
	return live.Type == d.Type && live.Immutable == d.Immutable &&
		hasAllBytes(live.Data, d.Data) &&
		hasAllStrings(live.Labels, d.Labels) &&
		hasAllStrings(live.Annotations, d.Annotations) &&
		hasExpectedOwner(live, d) &&
		ownsExactly(live.ManagedFields, d)
}

// hasExpectedOwner reports whether the owner references are as desired. A shared output has no owner reference to an
// AzureKeyVaultSecret.
func hasExpectedOwner(live Live, d Desired) bool {
	if d.Shared {
		return len(OwnerUIDs(live.OwnerReferences)) == 0
	}
	return hasOwnerReference(live.OwnerReferences, d.Owner)
}

func hasAllBytes(live, want map[string][]byte) bool {
	for key, value := range want {
		got, ok := live[key]
		if !ok || !bytes.Equal(got, value) {
			return false
		}
	}
	return true
}

func hasAllStrings(live, want map[string]string) bool {
	for key, value := range want {
		if got, ok := live[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func hasOwnerReference(references []metav1.OwnerReference, owner Owner) bool {
	return slices.ContainsFunc(references, func(ref metav1.OwnerReference) bool {
		return ref.UID == owner.UID && ref.APIVersion == ownerAPIVersion && ref.BlockOwnerDeletion != nil &&
			*ref.BlockOwnerDeletion
	})
}

func ownsExactly(entries []metav1.ManagedFieldsEntry, d Desired) bool {
	owned, ok := ownedKeysByManager(entries)[d.Owner.FieldManager()]
	return ok && owned.data.equal(d.Data) && equalKeys(owned.labels, d.Labels) &&
		equalKeys(owned.annotations, d.Annotations)
}

// keyNames is a set of map keys.
type keyNames map[string]bool

func (n keyNames) equal(want map[string][]byte) bool { return equalKeys(n, want) }

func equalKeys[V any](n keyNames, want map[string]V) bool {
	return len(n) == len(want) && !slices.ContainsFunc(slices.Collect(maps.Keys(want)),
		func(key string) bool { return !n[key] })
}

// ownedKeys holds the map keys of an object that one field manager owns by apply.
type ownedKeys struct{ data, labels, annotations keyNames }

// ownedKeysByManager returns what each of our field managers owns. An entry that can't be parsed owns nothing; the only
// consequence is one more apply.
func ownedKeysByManager(entries []metav1.ManagedFieldsEntry) map[string]ownedKeys {
	all := map[string]ownedKeys{}
	for _, entry := range entries {
		ours := strings.HasPrefix(entry.Manager, wire.FieldManagerPrefix) &&
			entry.Operation == metav1.ManagedFieldsOperationApply
		if ours && entry.FieldsV1 != nil {
			all[entry.Manager] = ownedKeysOfEntry(entry)
		}
	}
	return all
}

// ownedKeysOfEntry returns the keys that an entry owns; empty if it can't be parsed.
func ownedKeysOfEntry(entry metav1.ManagedFieldsEntry) ownedKeys {
	var set fieldpath.Set
	if entry.FieldsV1 == nil || set.FromJSON(entry.FieldsV1.GetRawReader()) != nil {
		return ownedKeys{}
	}
	return ownedKeysOfSet(set)
}

func ownedKeysOfSet(set fieldpath.Set) ownedKeys {
	o := ownedKeys{data: keyNames{}, labels: keyNames{}, annotations: keyNames{}}
	set.Iterate(func(path fieldpath.Path) {
		text, ok := fieldNames(path)
		switch {
		case !ok:
		case len(text) == 2 && (text[0] == "data" || text[0] == "binaryData"):
			o.data[text[1]] = true
		case len(text) == 3 && text[0] == "metadata" && text[1] == "labels":
			o.labels[text[2]] = true
		case len(text) == 3 && text[0] == "metadata" && text[1] == "annotations":
			o.annotations[text[2]] = true
		}
	})
	return o
}

// KeysOfOtherOwners returns the desired data keys that other owners hold in the live object, by owner uid. The caller
// knows which of these owners still exist, and which are older.
func KeysOfOtherOwners(live Live, d Desired) map[string][]string {
	claims := map[string][]string{}
	for manager, fields := range ownedKeysByManager(live.ManagedFields) {
		if manager == d.Owner.FieldManager() {
			continue
		}
		uid := strings.TrimPrefix(manager, wire.FieldManagerPrefix)
		for _, key := range slices.Sorted(maps.Keys(d.Data)) {
			if fields.data[key] {
				claims[uid] = append(claims[uid], key)
			}
		}
	}
	return claims
}

// OtherOwnerUIDs returns the uids of all other owners of the object, sorted: those with fields of their own, and those
// in owner references.
func OtherOwnerUIDs(live Live, owner Owner) []string {
	uids := map[string]bool{}
	for manager := range ownedKeysByManager(live.ManagedFields) {
		uids[strings.TrimPrefix(manager, wire.FieldManagerPrefix)] = true
	}
	for _, uid := range OwnerUIDs(live.OwnerReferences) {
		uids[uid] = true
	}
	delete(uids, string(owner.UID))
	return slices.Sorted(maps.Keys(uids))
}

// HasFieldsOf reports whether the owner with this uid has applied any field of the object.
func HasFieldsOf(live Live, uid string) bool {
	_, ok := ownedKeysByManager(live.ManagedFields)[wire.FieldManagerPrefix+uid]
	return ok
}

// HasOnlyDataOf reports whether all data of the object belongs to the given owners, or was written by akv2k8s 1.8 on
// their behalf.
func HasOnlyDataOf(live Live, owners ...Owner) bool {
	theirs := keyNames{}
	if at := v1EntryIndex(live.ManagedFields); at >= 0 {
		maps.Copy(theirs, ownedKeysOfEntry(live.ManagedFields[at]).data)
	}
	all := ownedKeysByManager(live.ManagedFields)
	for _, owner := range owners {
		maps.Copy(theirs, all[owner.FieldManager()].data)
	}
	for key := range live.Data {
		if !theirs[key] {
			return false
		}
	}
	return true
}

// OwnerData returns the data that an owner has applied.
func OwnerData(live Live, owner Owner) map[string][]byte {
	data := map[string][]byte{}
	for key := range ownedKeysByManager(live.ManagedFields)[owner.FieldManager()].data {
		if value, ok := live.Data[key]; ok {
			data[key] = value
		}
	}
	return data
}

// IsDataChanged reports whether the desired data differs from the owner's data in the live object.
func IsDataChanged(live Live, d Desired) bool {
	mine, applied := ownedKeysByManager(live.ManagedFields)[d.Owner.FieldManager()]
	return !hasAllBytes(live.Data, d.Data) || (applied && !mine.data.equal(d.Data))
}

// IsTypedSecret reports whether the object is a Secret of a type for which the API server can require certain data
// keys.
func (l Live) IsTypedSecret() bool { return l.Kind == Secret && l.Type != corev1.SecretTypeOpaque }

// CheckWritable returns nil if the owner can write the live object. Otherwise it returns a fault.Conflict with the
// cause and the next step.
func CheckWritable(live Live, d Desired) error {
	// An object without our owner reference, but with our entry in managedFields, is still ours: somebody removed the
	// reference, and the next apply restores it.
	adopted, _ := parseAdoptAnnotation(live)
	if adopted || HasFieldsOf(live, string(d.Owner.UID)) || len(OwnerNames(live.OwnerReferences)) > 0 ||
		len(KeyOwnerships(live.Annotations)) > 0 {
		return nil
	}
	value, kind := "true", strings.ToLower(live.Kind.String())
	if contested := ForeignDataKeys(live, d); len(contested) > 0 {
		value = AdoptAnnotationValue(live, contested)
	}
	return &fault.Error{Kind: fault.Conflict,
		Operation: fmt.Sprintf("%s %q already exists and does not belong to an AzureKeyVaultSecret", live.Kind,
			live.Name),
		Next: fmt.Sprintf("choose another name in spec.output, delete it, or let akv2k8s write its keys into it: "+
			"kubectl -n %s annotate %s %s %s=%s",
			live.Namespace, kind, live.Name, wire.AnnotationAdopt, value)}
}

// RecreateReason returns why the object can't be changed in place and must be deleted and created again. It is empty if
// an update in place is possible. The text completes the sentence 'Secret "out" …'.
func RecreateReason(live Live, d Desired) string {
	switch {
	case live.Type != d.Type:
		return fmt.Sprintf("has type %s but needs type %s", live.Type, d.Type)
	case live.Immutable && (!d.Immutable || !hasAllBytes(live.Data, d.Data) || !ownsExactly(live.ManagedFields, d)):
		return "is immutable but needs a change"
	}
	return ""
}
