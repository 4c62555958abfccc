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

// Restore creates an output that was deleted to be replaced, if the controller stopped before it wrote the new one. The
// data come from the spare that replace left, so the vault is not needed. desired says everything but the data. Nothing
// is done while an object of that name exists.
func (s *Store) Restore(ctx context.Context, desired output.Desired) (restored bool, err error) {
	spare := desired.Spare()
	name := types.NamespacedName{Namespace: spare.Owner.Namespace, Name: spare.Name}
	if err := s.Client.Get(ctx, name, Metadata(spare.Kind)); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil // nearly always, and it costs a look into the cache
		}
		return false, fmt.Errorf("reading the metadata of %s %s: %w", spare.Kind, name, err)
	}
	kept, found, err := s.live(ctx, spare)
	if err != nil || !found || !output.IsSpare(kept, desired) {
		return false, err
	}
	if _, exists, err := s.live(ctx, desired); err != nil || exists {
		return false, err
	}
	desired.Data = output.DataOf(kept, desired.Owner)
	err = s.apply(ctx, &Made{Desired: desired}, desired.Configuration("").Absent())
	return err == nil, err
}

// keepSpare stores the data of an output that is about to be deleted and created again. It never writes into an object
// that exists.
func (s *Store) keepSpare(ctx context.Context, desired output.Desired) error {
	spare := desired.Spare()
	return refused(s.Client.Apply(ctx, spare.Configuration("").Absent().Body(),
		client.FieldOwner(spare.Owner.Manager())), spare)
}

// discardSpare deletes the spare of an output, if there is one. Somebody else's object of that name stays, and that is
// the error.
func (s *Store) discardSpare(ctx context.Context, desired output.Desired) error {
	kept, found, err := s.live(ctx, desired.Spare())
	switch {
	case err != nil || !found:
		return err
	case !output.Applied(kept, string(desired.Owner.UID)):
		return fault.New(fault.Conflict,
			"%s %q can't be replaced: meanwhile its data are kept in %s %q, which already exists; delete that one",
			desired.Kind, desired.Name, kept.Kind, kept.Name)
	}
	return s.remove(ctx, kept)
}
