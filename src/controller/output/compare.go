package output

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// InSync says whether applying the desired Secret would change nothing: every field that the owner wants has its value, and
// the owner's manager owns no field that it no longer wants.
func InSync(owner Owner, live *corev1.Secret, desired *corev1ac.SecretApplyConfiguration) bool {
	return live.Type == *desired.Type &&
		hasBytes(live.Data, desired.Data) &&
		hasStrings(live.Labels, desired.Labels) &&
		hasStrings(live.Annotations, desired.Annotations) &&
		hasOwner(live.OwnerReferences, owner) &&
		ownsExactly(live.ManagedFields, owner.Manager(), desired)
}

func hasBytes(live, want map[string][]byte) bool {
	for key, value := range want {
		got, ok := live[key]
		if !ok || !bytes.Equal(got, value) {
			return false
		}
	}
	return true
}

func hasStrings(live, want map[string]string) bool {
	for key, value := range want {
		if got, ok := live[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func hasOwner(references []metav1.OwnerReference, owner Owner) bool {
	return slices.ContainsFunc(references, func(ref metav1.OwnerReference) bool {
		return ref.UID == owner.UID && ref.APIVersion == apiVersion && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
	})
}

func ownsExactly(entries []metav1.ManagedFieldsEntry, manager string, desired *corev1ac.SecretApplyConfiguration) bool {
	owned, ok := ownedBy(entries)[manager]
	return ok && owned.data.equal(desired.Data) && equalKeys(owned.labels, desired.Labels) && equalKeys(owned.annotations, desired.Annotations)
}

// names is a set of map keys.
type names map[string]bool

func (n names) equal(want map[string][]byte) bool { return equalKeys(n, want) }

func equalKeys[V any](n names, want map[string]V) bool {
	return len(n) == len(want) && !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(key string) bool { return !n[key] })
}

// owned are the keys of an object's maps that one manager owns by apply.
type owned struct{ data, labels, annotations names }

// ownedBy reads managedFields: what each of our managers owns. Entries that can't be read are left out, which leads to one
// more apply and no harm.
func ownedBy(entries []metav1.ManagedFieldsEntry) map[string]owned {
	all := map[string]owned{}
	for _, entry := range entries {
		ours := strings.HasPrefix(entry.Manager, wire.FieldManagerPrefix) && entry.Operation == metav1.ManagedFieldsOperationApply
		if !ours || entry.FieldsV1 == nil {
			continue
		}
		var set fieldpath.Set
		if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			continue
		}
		all[entry.Manager] = keysOf(set)
	}
	return all
}

func keysOf(set fieldpath.Set) owned {
	o := owned{data: names{}, labels: names{}, annotations: names{}}
	set.Iterate(func(path fieldpath.Path) {
		text := make([]string, len(path))
		for i, element := range path {
			if element.FieldName == nil {
				return
			}
			text[i] = *element.FieldName
		}
		switch {
		case len(text) == 2 && text[0] == "data":
			o.data[text[1]] = true
		case len(text) == 3 && text[0] == "metadata" && text[1] == "labels":
			o.labels[text[2]] = true
		case len(text) == 3 && text[0] == "metadata" && text[1] == "annotations":
			o.annotations[text[2]] = true
		}
	})
	return o
}

// Claims are the owners that hold one of the wanted data keys in the live Secret besides the owner itself, by their managers'
// uids. Who of them is still alive, and who is elder, only the caller can know.
func Claims(owner Owner, live *corev1.Secret, desired *corev1ac.SecretApplyConfiguration) []string {
	var uids []string
	for manager, fields := range ownedBy(live.ManagedFields) {
		if manager == owner.Manager() {
			continue
		}
		for key := range desired.Data {
			if fields.data[key] {
				uids = append(uids, strings.TrimPrefix(manager, wire.FieldManagerPrefix))
				break
			}
		}
	}
	slices.Sort(uids)
	return uids
}

// Writable says whether the live Secret may be written for the owner; if not, fault.Conflict says why and what to do.
func Writable(owner Owner, live *corev1.Secret, desired *corev1ac.SecretApplyConfiguration) error {
	name := live.Name
	// Whoever took our owner reference away left our entry in managedFields: such a Secret is repaired, not given up.
	_, written := ownedBy(live.ManagedFields)[owner.Manager()]
	switch {
	case !written && len(OwnerNames(live.OwnerReferences)) == 0 && live.Annotations[wire.AnnotationAdopt] != "true":
		return fault.New(fault.Conflict, "Secret %q already exists and belongs to nobody we know; choose another spec.output.secret.name, "+
			"delete it, or hand it over with: kubectl -n %s annotate secret %s %s=true", name, owner.Namespace, name, wire.AnnotationAdopt)
	case live.Type != *desired.Type:
		return fault.New(fault.Conflict, "Secret %q has the type %s and must become %s, which can't be changed in place; "+
			"delete it and it is made anew", name, live.Type, *desired.Type)
	case live.Immutable != nil && *live.Immutable && !hasBytes(live.Data, desired.Data):
		return fault.New(fault.Conflict, "Secret %q is immutable and its data must change; delete it and it is made anew", name)
	}
	return nil
}
