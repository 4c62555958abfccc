package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
)

// OwnerIndex is the name of the cache index of outputs by owner.
const OwnerIndex = "akv2k8s.owner"

// OwnerIndexValues returns the index values of an object: the uids of its owners, and the uids and names of the
// resources that share it.
func OwnerIndexValues(object client.Object) []string {
	values := output.OwnerUIDs(object.GetOwnerReferences())
	for uid, share := range output.KeyOwnerships(object.GetAnnotations()) {
		values = append(values, uid, sharedIndexValue(share.ResourceName))
	}
	return values
}

// sharedIndexValue returns the index value of the shared outputs of a resource with this name.
func sharedIndexValue(name string) string { return "name/" + name }

// NewPartialMetadata returns an empty object for reading and caching only the metadata of this kind.
func NewPartialMetadata(kind output.Kind) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: kind.APIVersion(), Kind: kind.String()}}
}

// Prune removes the outputs that a resource no longer wants, after the wanted ones were written: after a rename, or
// when an output was removed from the spec. It also removes what an earlier resource with the same name left in shared
// outputs.
func (s *Store) Prune(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, wanted []Result) error {
	for _, kind := range output.Kinds() {
		items, err := s.listByIndex(ctx, kind, resource.Namespace, string(resource.UID))
		if err != nil {
			return err
		}
		for _, item := range items {
			is := func(m Result) bool { return m.Desired.Kind == kind && m.Desired.Name == item.Name }
			if slices.ContainsFunc(wanted, is) {
				continue
			}
			if err := s.removeFromOutput(ctx, resource, output.Desired{Kind: kind, Name: item.Name,
				Owner: OwnerOf(resource)}); err != nil {
				return err
			}
		}
	}
	return s.ReleaseSharedOutputs(ctx, types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name})
}

// listByIndex lists the metadata of outputs in a namespace by the index OwnerIndex.
func (s *Store) listByIndex(ctx context.Context, kind output.Kind, namespace,
	value string) ([]metav1.PartialObjectMetadata,
	error) {
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: kind.APIVersion(),
		Kind: kind.String() + "List"}}
	if err := s.Client.List(ctx, list, client.InNamespace(namespace),
		client.MatchingFields{OwnerIndex: value}); err != nil {
		return nil, fmt.Errorf("listing the %ss of %s that belong to %s: %w", kind, namespace, value, err)
	}
	return list.Items, nil
}

// removeFromOutput removes a resource's data from an object, and deletes the object if no other owner or tool has a
// part in it. Data of others is kept. It serves for renamed outputs and for deleted resources.
func (s *Store) removeFromOutput(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, d output.Desired) error {
	live, found, err := s.readLive(ctx, d)
	if err != nil || !found {
		return err
	}
	if !output.HasFieldsOf(live, string(d.Owner.UID)) {
		return nil // the cache is stale: our fields are already removed
	}
	others, err := s.findOtherOwners(ctx, resource, live)
	if err != nil {
		return err
	}
	shared := output.HasForeignData(live, output.Desired{Owner: d.Owner})
	if !shared && len(others.older)+len(others.younger) == 0 && output.HasOnlyDataOf(live, d.Owner) {
		return s.deleteLive(ctx, live)
	}
	if err := s.removeOwnData(ctx, live, d, shared); !errors.Is(err, errObjectGone) {
		return err
	}
	return nil
}

// removeOwnData removes the resource's part from an object that is kept.
func (s *Store) removeOwnData(ctx context.Context, live output.Live, d output.Desired, shared bool) error {
	if shared {
		if _, err := s.dropOwnerReferences(ctx, live); err != nil {
			return err
		}
	}
	if _, err := s.removeOwnerFields(ctx, live, d.Owner); err != nil || !shared {
		return err
	}
	return s.deleteIfEmpty(ctx, d)
}

// deleteIfEmpty deletes an object that holds no data and in which no owner or other tool has fields: akv2k8s created
// it, and the data of all others was removed.
func (s *Store) deleteIfEmpty(ctx context.Context, d output.Desired) error {
	live, found, err := s.readLive(ctx, d)
	if err != nil || !found || !output.IsEmptyAndUnowned(live) {
		return err
	}
	return s.deleteLive(ctx, live)
}
