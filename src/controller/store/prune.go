package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
)

// OwnerIndex is the cache's index of outputs by the uids of their owners.
const OwnerIndex = "akv2k8s.owner"

// IndexOwners gives the index values of an object.
func IndexOwners(object client.Object) []string { return output.OwnerUIDs(object.GetOwnerReferences()) }

// Metadata is an empty object of the kind whose metadata alone is read and cached.
func Metadata(kind output.Kind) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: string(kind)}}
}

// Prune removes the outputs that a resource no longer wants, once the ones that it wants are there: after a rename, or when an output was taken
// out of the spec.
func (s *Store) Prune(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, wanted []Made) error {
	for _, kind := range output.Kinds() {
		list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: string(kind) + "List"}}
		err := s.Client.List(ctx, list, client.InNamespace(resource.Namespace), client.MatchingFields{OwnerIndex: string(resource.UID)})
		if err != nil {
			return fmt.Errorf("listing the outputs of %s/%s: %w", resource.Namespace, resource.Name, err)
		}
		for _, item := range list.Items {
			is := func(m Made) bool { return m.Desired.Kind == kind && m.Desired.Name == item.Name }
			if slices.ContainsFunc(wanted, is) {
				continue
			}
			if err := s.abandon(ctx, resource, output.Desired{Kind: kind, Name: item.Name, Owner: OwnerOf(resource)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon deletes an output that is the resource's alone; of one that holds data of others it takes its own part out.
func (s *Store) abandon(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, d output.Desired) error {
	live, found, err := s.live(ctx, d)
	if err != nil || !found {
		return err
	}
	if !output.Applied(live, string(d.Owner.UID)) {
		return nil // the cache is behind: our part is out
	}
	others, err := s.others(ctx, resource, live)
	if err != nil {
		return err
	}
	if len(others.elder)+len(others.younger) == 0 && output.OnlyOf(live, d.Owner) {
		return s.remove(ctx, live)
	}
	if _, err = s.withdraw(ctx, live, d.Owner); errors.Is(err, errGone) {
		return nil
	}
	return err
}
