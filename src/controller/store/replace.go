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

// replace deletes an object that can't be changed in place and creates it again. It does so only if all data belongs to
// this resource: otherwise data of others would be lost, including the last good value of a resource whose vault is
// unavailable. If the controller stops between the two requests, the next sync creates the object from the stored copy.
func (s *Store) replace(ctx context.Context, m *Made, live output.Live, others rivals) error {
	if !output.OnlyOf(live, others.left(m.Desired.Owner)...) {
		return fault.New(fault.Conflict, "%s %q %s, and holds data of others; delete it, and akv2k8s creates it again",
			live.Kind, live.Name, output.Fixed(live, m.Desired))
	}
	// An interrupted replacement can leave a copy. While the object exists, that copy is not needed, and it can have
	// another type.
	if err := s.discardSpare(ctx, m.Desired); err != nil {
		return err
	}
	if err := s.rehearse(ctx, m.Desired); err != nil {
		return err
	}
	// Don't stop between the delete and the create when the controller shuts down: the object does not exist then.
	ctx = context.WithoutCancel(ctx)
	if err := s.keepSpare(ctx, m.Desired); err != nil {
		return err
	}
	if err := s.remove(ctx, live); err != nil {
		return fault.Both(err, s.discardSpare(ctx, m.Desired))
	}
	if err := s.apply(ctx, m, m.Desired.Configuration("")); err != nil {
		return err
	}
	return s.discardSpare(ctx, m.Desired)
}

// rehearse sends the new object as a dry run, to find out whether the API server would accept it. If a policy rejects
// the new object, the last good one must not be deleted. The dry run uses another name, because the old object still
// exists.
func (s *Store) rehearse(ctx context.Context, d output.Desired) error {
	name := d.Name
	d.Name = d.Owner.Manager()
	err := s.Client.Apply(ctx, d.Configuration("").Body(), client.FieldOwner(d.Owner.Manager()), client.ForceOwnership,
		client.DryRunAll)
	rehearsed := d.Name
	d.Name = name
	err = refused(err, d)
	if fault.KindOf(err) == fault.Conflict {
		return fault.New(fault.Conflict, "%s; the existing object is kept",
			strings.ReplaceAll(err.Error(), rehearsed, name))
	}
	return err
}

// remove deletes the object only if it has not changed since it was read.
func (s *Store) remove(ctx context.Context, live output.Live) error {
	uid, version := live.UID, live.ResourceVersion
	err := s.Client.Delete(ctx, objectOf(live), client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return fault.New(fault.Conflict, "%s %q was changed while it was being removed; retrying", live.Kind,
			live.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		return classify(err, fmt.Sprintf("deleting %s %s/%s", live.Kind, live.Namespace, live.Name))
	}
	return nil
}

// errGone means that the object no longer exists.
var errGone = errors.New("the object no longer exists")

// errNeeded means that the object is invalid without our data, for example a Secret of a type that requires certain
// keys.
var errNeeded = errors.New("the API server rejects the object without this data")

// withdraw removes an owner's fields from an object and returns the new resourceVersion. The error is distinct if the
// object no longer exists, or if it is invalid without these fields.
func (s *Store) withdraw(ctx context.Context, live output.Live, owner output.Owner) (string, error) {
	nothing := output.Nothing(live)
	err := s.Client.Apply(ctx, nothing.Body(), client.FieldOwner(owner.Manager()), client.ForceOwnership)
	switch {
	case apierrors.IsNotFound(err):
		return "", errGone
	case apierrors.IsConflict(err):
		return "", fault.New(fault.Conflict, "%s %q was replaced while its data keys were being removed; retrying",
			live.Kind, live.Name)
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		return "", &fault.Error{Kind: fault.Conflict,
			Doing: fmt.Sprintf("removing the data of this resource from %s %q, which also holds data of others",
				live.Kind, live.Name),
			Cause: errNeeded, Next: "delete it when it is no longer needed"}
	case err != nil:
		return "", classify(err, fmt.Sprintf("removing the fields of a resource from %s %s/%s", live.Kind,
			live.Namespace, live.Name))
	}
	return nothing.Version(), nil
}
