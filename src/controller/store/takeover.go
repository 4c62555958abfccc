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

// takeoverManager is the field manager of patches that remove metadata; it never owns a field.
const takeoverManager = "akv2k8s-takeover"

// succeed removes the field ownership of akv2k8s 1.8 from an output, after every resource that writes to it has applied
// its own part. Until then, the 1.8 entry keeps the keys of resources whose vault is unavailable.
func (s *Store) succeed(ctx context.Context, m *Made, before output.Live, others rivals) error {
	if !output.IsLegacy(before) || waiting(before, others.elder) || waiting(before, others.younger) {
		return nil
	}
	live, found, err := s.live(ctx, m.Desired)
	if err != nil || !found || live.UID != before.UID || !output.IsLegacy(live) {
		return err
	}
	patch, err := output.Succeed(live)
	if err != nil {
		return fmt.Errorf("reading the managed fields of %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
	}
	return s.patch(ctx, m, live, patch)
}

func (s *Store) patch(ctx context.Context, m *Made, live output.Live, patch []byte) error {
	object := objectOf(live)
	err := s.Client.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(takeoverManager))
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return fault.New(fault.Conflict, "%s %q was changed while the field ownership of akv2k8s 1.8 was being "+
			"removed; retrying", live.Kind, live.Name)
	}
	if err != nil {
		return classify(err, fmt.Sprintf("removing the field ownership of akv2k8s 1.8 from %s %s/%s", live.Kind,
			live.Namespace, live.Name))
	}
	m.Version = object.GetResourceVersion()
	return nil
}

// waiting reports whether one of the resources writes to the object but has not applied its part yet.
func waiting(live output.Live, resources []*v2beta1.AzureKeyVaultSecret) bool {
	for _, r := range resources {
		if feeds(r, live) && !output.Applied(live, string(r.UID)) {
			return true
		}
	}
	return false
}

func feeds(r *v2beta1.AzureKeyVaultSecret, live output.Live) bool {
	out := r.Spec.Output
	switch {
	case r.DeletionTimestamp != nil || out == nil:
		return false
	case live.Kind == output.ConfigMap:
		return out.ConfigMap != nil && out.ConfigMap.Name == live.Name
	}
	return out.Secret != nil && out.Secret.Name == live.Name
}
