package store

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// metadataPatchManager is the field manager of patches that remove metadata; it never owns a field.
const metadataPatchManager = "akv2k8s-takeover"

// dropV1Ownership removes the field ownership of akv2k8s 1.8 from an output, after every resource that writes to it has
// applied its own part. Until then, the 1.8 entry keeps the keys of resources whose vault is unavailable.
func (s *Store) dropV1Ownership(ctx context.Context, m *Result, before output.Live, others otherOwners) error {
	if !output.HasV1Fields(before) || hasUnappliedResource(before, others.older) ||
		hasUnappliedResource(before, others.younger) {
		return nil
	}
	live, found, err := s.readLive(ctx, m.Desired)
	if err != nil || !found || live.UID != before.UID || !output.HasV1Fields(live) {
		return err
	}
	patch, err := output.DropV1OwnershipPatch(live)
	if err != nil {
		return fmt.Errorf("reading the managed fields of %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
	}
	return s.applyV1Patch(ctx, m, live, patch)
}

func (s *Store) applyV1Patch(ctx context.Context, m *Result, live output.Live, patch []byte) error {
	object := clientObject(live)
	err := s.Client.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch),
		client.FieldOwner(metadataPatchManager))
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return fault.New(fault.Conflict, "%s %q was changed while the field ownership of akv2k8s 1.8 was being "+
			"removed; retrying", live.Kind, live.Name)
	}
	if err != nil {
		return classifyError(err, fmt.Sprintf("removing the field ownership of akv2k8s 1.8 from %s %s/%s", live.Kind,
			live.Namespace, live.Name))
	}
	m.ResourceVersion = object.GetResourceVersion()
	return nil
}

// hasUnappliedResource reports whether one of the resources writes to the object but has not applied its part yet.
func hasUnappliedResource(live output.Live, resources []*v2beta1.AzureKeyVaultSecret) bool {
	for _, r := range resources {
		if hasOutput(r, live) && !output.HasFieldsOf(live, string(r.UID)) {
			return true
		}
	}
	return false
}

func hasOutput(r *v2beta1.AzureKeyVaultSecret, live output.Live) bool {
	return r.DeletionTimestamp == nil && r.Spec.Output != nil && live.Kind.NameInSpec(r.Spec.Output) == live.Name
}
