package store

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// RestoreFromBackup creates an output again that was deleted for replacement, if the controller stopped before it
// created the new one. The data comes from the copy that was stored before, so the vault is not needed. desired is the
// output without data. An existing output is never changed.
func (s *Store) RestoreFromBackup(ctx context.Context, desired output.Desired) (restored bool, err error) {
	spare := desired.Backup()
	name := types.NamespacedName{Namespace: spare.Owner.Namespace, Name: spare.Name}
	if err := s.Client.Get(ctx, name, NewPartialMetadata(spare.Kind)); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil // the usual case; it only costs a read of the cache
		}
		return false, fmt.Errorf("reading the metadata of %s %s: %w", spare.Kind, name, err)
	}
	kept, found, err := s.readLive(ctx, spare)
	if err != nil || !found || !output.IsBackupOf(kept, desired) {
		return false, err
	}
	if _, exists, err := s.readLive(ctx, desired); err != nil || exists {
		return false, err
	}
	desired.Data = output.OwnerData(kept, desired.Owner)
	err = s.applyOutput(ctx, &Result{Desired: desired}, desired.ApplyConfig("").CreateOnly())
	return err == nil, err
}

// createBackup stores a copy of an output that will be deleted and created again. It never overwrites an existing
// object.
func (s *Store) createBackup(ctx context.Context, desired output.Desired) error {
	spare := desired.Backup()
	return classifyApplyError(s.Client.Apply(ctx, spare.ApplyConfig("").CreateOnly().Body,
		client.FieldOwner(spare.Owner.FieldManager())), spare)
}

// deleteBackup deletes the copy of an output, if there is one. If akv2k8s did not create the object of that name, the
// object is left unchanged, and the result is a conflict.
func (s *Store) deleteBackup(ctx context.Context, desired output.Desired) error {
	kept, found, err := s.readLive(ctx, desired.Backup())
	switch {
	case err != nil || !found:
		return err
	case !output.HasFieldsOf(kept, string(desired.Owner.UID)):
		return fault.New(fault.Conflict,
			"%s %q can't be replaced: its data would temporarily be kept in %s %q, which already exists; "+
				"delete that object",
			desired.Kind, desired.Name, kept.Kind, kept.Name)
	}
	return s.deleteLive(ctx, kept)
}
