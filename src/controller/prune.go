package controller

import (
	"context"
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

// prune removes the outputs that a resource no longer wants, once the ones that it wants are there: after a rename, or when an output was taken
// out of the spec.
func (c *Controller) prune(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, wanted []made) error {
	for _, kind := range output.Kinds() {
		list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: string(kind) + "List"}}
		err := c.Client.List(ctx, list, client.InNamespace(resource.Namespace), client.MatchingFields{OwnerIndex: string(resource.UID)})
		if err != nil {
			return fmt.Errorf("listing the outputs of %s/%s: %w", resource.Namespace, resource.Name, err)
		}
		for _, item := range list.Items {
			is := func(m made) bool { return m.desired.Kind == kind && m.desired.Name == item.Name }
			if slices.ContainsFunc(wanted, is) {
				continue
			}
			if err := c.abandon(ctx, resource, output.Desired{Kind: kind, Name: item.Name, Owner: ownerOf(resource)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon deletes an output that is the resource's alone; of one that holds data of others it takes its own part out.
func (c *Controller) abandon(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, d output.Desired) error {
	live, found, err := c.live(ctx, d)
	if err != nil || !found {
		return err
	}
	if !output.Applied(live, string(d.Owner.UID)) {
		return nil // the cache is behind: our part is out
	}
	others, err := c.others(ctx, resource, live)
	if err != nil {
		return err
	}
	if len(others.elder)+len(others.younger) == 0 && output.OnlyOf(live, d.Owner) {
		return c.remove(ctx, live)
	}
	err = c.Client.Apply(ctx, output.Nothing(live).Body(), client.FieldOwner(d.Owner.Manager()), client.ForceOwnership)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("leaving %s %s/%s: %w", live.Kind, live.Namespace, live.Name, err)
	}
	return nil
}
