package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// dropForeignDataKeys leaves out the data keys that others wrote before the resource first wrote to the object, and
// returns a conflict for them.
func (s *Store) dropForeignDataKeys(live output.Live, m *Result) error {
	keys := output.ForeignDataKeys(live, m.Desired)
	if len(keys) == 0 {
		return nil
	}
	m.Desired = m.Desired.WithoutKeys(keys)
	return &fault.Error{Kind: fault.Conflict,
		Operation: fmt.Sprintf("%s %q already has the data key %s, which is not from an AzureKeyVaultSecret", live.Kind,
			live.Name, strings.Join(keys, ", ")),
		Next: fmt.Sprintf("choose another dataKey in spec.output, or let akv2k8s overwrite it: kubectl -n %s "+
			"annotate --overwrite %s %s %s=%s",
			live.Namespace, strings.ToLower(live.Kind.String()), live.Name, wire.AnnotationAdopt,
			output.AdoptAnnotationValue(live, keys))}
}

// prepareSharedWrite prepares a write to a shared object: it writes only our own keys and no field that concerns the
// whole object.
func (s *Store) prepareSharedWrite(ctx context.Context, m *Result, live output.Live) error {
	reason := output.RecreateReason(live, m.Desired)
	if reason == "" && m.Desired.Immutable && !live.Immutable {
		reason = "must become immutable"
	}
	if reason != "" {
		return fault.New(fault.Conflict,
			"%s %q %s, but holds data of others; choose another name in spec.output, or delete it, and akv2k8s "+
				"creates it again",
			live.Kind, live.Name, reason)
	}
	if size := m.Desired.KeysAnnotationSize(); size > limits.SharedKeyNamesBytes {
		return fault.New(fault.Conflict,
			"%s %q holds data of others, and the names of the data keys to add take %d bytes (limit %s); "+
				"choose another name in spec.output", live.Kind, live.Name, size,
			limits.Bytes(limits.SharedKeyNamesBytes))
	}
	m.Desired, m.Shared = m.Desired.AsShared(), true
	var err error
	m.BecameShared, err = s.dropOwnerReferences(ctx, live)
	return err
}

// dropOwnerReferences removes our owner references, and reports whether there were any. It runs before any other
// change: as long as an owner reference exists, the garbage collector can delete the object with the data of others.
func (s *Store) dropOwnerReferences(ctx context.Context, live output.Live) (bool, error) {
	patch, err := output.DropOwnerReferencesPatch(live)
	if err != nil || patch == nil {
		return false, err
	}
	err = s.Client.Patch(ctx, clientObject(live), client.RawPatch(types.JSONPatchType, patch),
		client.FieldOwner(metadataPatchManager))
	switch {
	case apierrors.IsNotFound(err):
		return false, errObjectGone
	case apierrors.IsConflict(err), apierrors.IsInvalid(err):
		return false, fault.New(fault.Conflict,
			"%s %q was changed while its owner references were being removed; retrying", live.Kind, live.Name)
	case err != nil:
		return false, classifyError(err, fmt.Sprintf("removing the owner references of %s %s/%s", live.Kind,
			live.Namespace,
			live.Name))
	}
	return true, nil
}

// ReleaseSharedOutputs removes the data that a deleted resource with this name left in shared outputs. The garbage
// collector deletes exclusive outputs, but shared outputs have no owner reference. A resource that is not in the cache
// can still exist, because with OBJECT_LABELS another installation can manage it; the API server decides.
func (s *Store) ReleaseSharedOutputs(ctx context.Context, name types.NamespacedName) error {
	for _, kind := range output.Kinds() {
		items, err := s.listByIndex(ctx, kind, name.Namespace, sharedIndexValue(name.Name))
		if err != nil {
			return err
		}
		for _, item := range items {
			for uid, share := range output.KeyOwnerships(item.Annotations) {
				if share.ResourceName != name.Name {
					continue
				}
				if err := s.releaseSharedOutput(ctx, kind, item.Name, name, types.UID(uid)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// releaseSharedOutput removes the data of the resource with this uid from an object, if that resource no longer exists.
func (s *Store) releaseSharedOutput(ctx context.Context, kind output.Kind, object string, name types.NamespacedName,
	uid types.UID) error {
	resource := &v2beta1.AzureKeyVaultSecret{}
	err := s.APIReader.Get(ctx, name, resource)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading AzureKeyVaultSecret %s: %w", name, err)
	}
	if err == nil && resource.UID == uid {
		return nil
	}
	gone := &v2beta1.AzureKeyVaultSecret{}
	gone.Name, gone.Namespace, gone.UID = name.Name, name.Namespace, uid
	err = s.removeFromOutput(ctx, gone, output.Desired{Kind: kind, Name: object, Owner: OwnerOf(gone)})
	if errors.Is(err, errDataRequired) {
		// A retry does not help, and a deleted resource has no conditions to report this in.
		log.FromContext(ctx).Error(err, "data keys of a deleted AzureKeyVaultSecret can't be removed", logkey.Name,
			name.Name, logkey.Namespace, name.Namespace)
		return nil
	}
	return err
}
