package explain

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// explainOutputs says for each output who writes its keys. It asks for the metadata of the object alone: the names of
// keys are in its managed fields, so no value is transferred.
func (x *resourceExplanation) explainOutputs(ctx context.Context) error {
	for _, out := range x.read.recipe.Outputs {
		object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: out.Kind}}
		err := x.Reader.Get(ctx, types.NamespacedName{Namespace: x.object.Namespace, Name: out.Name}, object)
		found := Output{Kind: out.Kind, Name: out.Name}
		switch {
		case apierrors.IsNotFound(err):
			found.State = "does not exist"
			x.addOutputFinding(doctor.Finding{Check: checkOutputs, Object: kindObject(out.Kind, out.Name),
				Severity: doctor.Error, What: "it does not exist",
				Why: "the resource is ready, so something deleted it", Try: "find out what deletes it in the " +
					"audit log; 'kubectl akv2k8s refresh " + x.object.Name + "' creates it again"})
		case apierrors.IsForbidden(err):
			found.State = "not known: you may not read its metadata"
		case err != nil:
			return err
		default:
			x.explainOutput(&found, out, object)
		}
		x.result.Outputs = append(x.result.Outputs, found)
	}
	return nil
}

// addOutputFinding adds a finding about an output of a resource that is ready. If it is not ready, that is the cause,
// and there is a finding about it.
func (x *resourceExplanation) addOutputFinding(f doctor.Finding) {
	if meta.IsStatusConditionTrue(x.object.Status.Conditions, v2beta1.ConditionReady) {
		x.addFinding(f)
	}
}

// explainOutput explains an output that exists.
func (x *resourceExplanation) explainOutput(found *Output, out recipe.Output, object *metav1.PartialObjectMetadata) {
	writers := keyWriters(object.ManagedFields)
	owned := false
	for _, key := range slices.Sorted(maps.Keys(writers)) {
		var names []string
		for _, manager := range writers[key] {
			owned = owned || manager == wire.FieldManagerPrefix+string(x.object.UID)
			names = append(names, x.writerName(manager, object))
		}
		found.Keys = append(found.Keys, Key{Name: key, Writers: names})
	}
	switch shares := output.KeyOwnerships(object.Annotations); {
	case !owned:
		found.State = "exists, but this resource writes none of its keys"
		x.addOutputFinding(doctor.Finding{Check: checkOutputs, Object: kindObject(out.Kind, out.Name),
			Severity: doctor.Error, What: "it has no key of this resource",
			Why: "the resource is ready, so another tool created it again",
			Try: "find out which one in the audit log; 'kubectl akv2k8s refresh " + x.object.Name +
				"' writes the keys again"})
	case len(shares) > 0:
		found.State = "also holds data of others, so deleting this resource keeps it"
	default:
		found.State = "belongs to akv2k8s alone"
	}
}

// keyWriters returns the field managers that own each data key. An entry that can't be parsed owns none.
func keyWriters(entries []metav1.ManagedFieldsEntry) map[string][]string {
	writers := map[string][]string{}
	for _, entry := range entries {
		var set fieldpath.Set
		if entry.FieldsV1 == nil || set.FromJSON(entry.FieldsV1.GetRawReader()) != nil {
			continue
		}
		set.Iterate(func(path fieldpath.Path) {
			if len(path) != 2 || path[0].FieldName == nil || path[1].FieldName == nil {
				return
			}
			if parent := *path[0].FieldName; parent == "data" || parent == "binaryData" {
				key := *path[1].FieldName
				writers[key] = append(writers[key], entry.Manager)
			}
		})
	}
	return writers
}

// writerName names a field manager: the resource, another resource if the object shows its name, or a tool.
func (x *resourceExplanation) writerName(manager string, object *metav1.PartialObjectMetadata) string {
	uid, ours := strings.CutPrefix(manager, wire.FieldManagerPrefix)
	switch {
	case manager == wire.V1FieldManager:
		return "akv2k8s 1.8"
	case !ours:
		return manager
	case uid == string(x.object.UID):
		return "this resource"
	}
	for _, owner := range object.OwnerReferences {
		if string(owner.UID) == uid {
			return fmt.Sprintf("AzureKeyVaultSecret %q", owner.Name)
		}
	}
	if share, ok := output.KeyOwnerships(object.Annotations)[uid]; ok {
		return fmt.Sprintf("AzureKeyVaultSecret %q", share.ResourceName)
	}
	return "an AzureKeyVaultSecret with uid " + uid
}
