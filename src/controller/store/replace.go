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

// replace deletes an object that can't be changed in place and creates it again, and only where all of it is the
// resource's own: what others put in would be lost, and the last good value of another resource too, whose vault may be
// away. Should the controller stop between the two, Restore creates the object from the spare.
func (s *Store) replace(ctx context.Context, m *Made, live output.Live, others rivals) error {
	if !output.OnlyOf(live, others.left(m.Desired.Owner)...) {
		return fault.New(fault.Conflict, "%s %q %s, and holds data of others; delete it and it is created again",
			live.Kind, live.Name, output.Fixed(live, m.Desired))
	}
	// A spare that an interrupted replacement left is of no use while the object exists, and may have another type.
	if err := s.discardSpare(ctx, m.Desired); err != nil {
		return err
	}
	if err := s.rehearse(ctx, m.Desired); err != nil {
		return err
	}
	// From here on a shutdown waits: between the two steps there is no object.
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

// rehearse asks the API server whether it would take the object, under another name as the old one is still there: a
// policy that refuses the new one must not cost the last good one.
func (s *Store) rehearse(ctx context.Context, d output.Desired) error {
	name := d.Name
	d.Name = d.Owner.Manager()
	err := s.Client.Apply(ctx, d.Configuration("").Body(), client.FieldOwner(d.Owner.Manager()), client.ForceOwnership,
		client.DryRunAll)
	rehearsed := d.Name
	d.Name = name
	err = refused(err, d)
	if fault.KindOf(err) == fault.Conflict {
		return fault.New(fault.Conflict, "%s; the one that is there stays",
			strings.ReplaceAll(err.Error(), rehearsed, name))
	}
	return err
}

// remove deletes exactly the object that was looked at.
func (s *Store) remove(ctx context.Context, live output.Live) error {
	uid, version := live.UID, live.ResourceVersion
	err := s.Client.Delete(ctx, objectOf(live), client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsConflict(err) {
		return fault.New(fault.Conflict, "%s %q was changed while it was being removed; it is tried again", live.Kind,
			live.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		return classify(err, fmt.Sprintf("deleting %s %s/%s", live.Kind, live.Namespace, live.Name))
	}
	return nil
}

// errGone says that there is no such object any more.
var errGone = errors.New("the object is gone")

// errNeeded says that an object can't be without our data, as a Secret of a type that requires certain keys.
var errNeeded = errors.New("the API server refuses the rest of it without our data")

// withdraw takes away what an owner has of an object, and gives the version at which that was done, or errGone.
func (s *Store) withdraw(ctx context.Context, live output.Live, owner output.Owner) (string, error) {
	nothing := output.Nothing(live)
	err := s.Client.Apply(ctx, nothing.Body(), client.FieldOwner(owner.Manager()), client.ForceOwnership)
	switch {
	case apierrors.IsNotFound(err):
		return "", errGone
	case apierrors.IsConflict(err):
		return "", fault.New(fault.Conflict, "%s %q was replaced while a part was being taken out; it is tried again",
			live.Kind, live.Name)
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		return "", &fault.Error{Kind: fault.Conflict,
			Doing: fmt.Sprintf("removing our data from %s %q, which also holds data of others", live.Kind, live.Name),
			Cause: errNeeded, Next: "delete it once nobody needs it"}
	case err != nil:
		return "", classify(err, fmt.Sprintf("removing our part of %s %s/%s", live.Kind, live.Namespace, live.Name))
	}
	return nothing.Version(), nil
}
