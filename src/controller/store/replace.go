package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// recreateOutput deletes an object that can't be changed in place and creates it again. It does so only if all data
// belongs to this resource: otherwise data of others would be lost, including the last good value of a resource whose
// vault is unavailable. If the controller stops between the two requests, the next sync creates the object from the
// stored copy.
func (s *Store) recreateOutput(ctx context.Context, m *Result, live output.Live, others otherOwners) error {
	if !output.HasOnlyDataOf(live, others.removableOwners(m.Desired.Owner)...) {
		return fault.New(fault.Conflict, "%s %q %s, and holds data of others; delete it, and akv2k8s creates it again",
			live.Kind, live.Name, output.RecreateReason(live, m.Desired))
	}
	// An interrupted replacement can leave a copy. While the object exists, that copy is not needed, and it can have
	// another type.
	if err := s.deleteBackup(ctx, m.Desired); err != nil {
		return err
	}
	if err := s.dryRunCreate(ctx, m.Desired); err != nil {
		return err
	}
	// Don't stop between the delete and the create when the controller shuts down: the object does not exist then.
	ctx = context.WithoutCancel(ctx)
	if err := s.createBackup(ctx, m.Desired); err != nil {
		return err
	}
	if err := s.deleteLive(ctx, live); err != nil {
		return fault.Join(err, s.deleteBackup(ctx, m.Desired))
	}
	if err := s.applyOutput(ctx, m, m.Desired.ApplyConfig("")); err != nil {
		return err
	}
	return s.deleteBackup(ctx, m.Desired)
}

// dryRunCreate sends the new object as a dry run, to find out whether the API server would accept it. If a policy
// rejects the new object, the last good one must not be deleted. The dry run uses another name, because the old object
// still exists.
func (s *Store) dryRunCreate(ctx context.Context, d output.Desired) error {
	name := d.Name
	d.Name = d.Owner.FieldManager()
	err := s.Client.Apply(ctx, d.ApplyConfig("").Body, client.FieldOwner(d.Owner.FieldManager()),
		client.ForceOwnership,
		client.DryRunAll)
	rehearsed := d.Name
	d.Name = name
	err = classifyApplyError(err, d)
	if fault.KindOf(err) == fault.Conflict {
		return fault.New(fault.Conflict, "%s; the existing object is kept",
			strings.ReplaceAll(err.Error(), rehearsed, name))
	}
	return err
}

// deleteLive deletes the object only if it has not changed since it was read.
func (s *Store) deleteLive(ctx context.Context, live output.Live) error {
	uid, version := live.UID, live.ResourceVersion
	err := s.Client.Delete(ctx, clientObject(live), client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return fault.New(fault.Conflict, "%s %q was changed while it was being removed; retrying", live.Kind,
			live.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		return classifyError(err, fmt.Sprintf("deleting %s %s/%s", live.Kind, live.Namespace, live.Name))
	}
	return nil
}

// errObjectGone means that the object no longer exists.
var errObjectGone = errors.New("the object no longer exists")

// errDataRequired means that the object is invalid without our data, for example a Secret of a type that requires
// certain keys.
var errDataRequired = errors.New("the API server rejects the object without this data")

// removeOwnerFields removes an owner's fields from an object and returns the new resourceVersion. The error is distinct
// if the object no longer exists, or if it is invalid without these fields.
func (s *Store) removeOwnerFields(ctx context.Context, live output.Live, owner output.Owner) (string, error) {
	nothing := output.EmptyApplyConfig(live)
	err := s.Client.Apply(ctx, nothing.Body, client.FieldOwner(owner.FieldManager()), client.ForceOwnership)
	switch {
	case apierrors.IsNotFound(err):
		return "", errObjectGone
	case apierrors.IsConflict(err):
		return "", fault.New(fault.Conflict, "%s %q was replaced while its data keys were being removed; retrying",
			live.Kind, live.Name)
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		return "", &fault.Error{Kind: fault.Conflict,
			Operation: fmt.Sprintf("removing the data of this resource from %s %q, which also holds data of others",
				live.Kind, live.Name),
			Cause: errDataRequired, Next: "delete it when it is no longer needed"}
	case err != nil:
		return "", classifyError(err, fmt.Sprintf("removing the fields of a resource from %s %s/%s", live.Kind,
			live.Namespace, live.Name))
	}
	return nothing.ResourceVersion(), nil
}
