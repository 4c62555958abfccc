package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// dataFunc returns the data for an output kind.
type dataFunc func(kind output.Kind) (map[string]keyvault.Value, error)

// contentDecoder returns a function that decodes what the vault returned. Results are cached, and reused while the
// objects and the recipe are unchanged.
func (c *Controller) contentDecoder(ctx context.Context, namespace string, o syncResult) dataFunc {
	share := c.DecodePool.ForNamespace(namespace)
	return func(kind output.Kind) (map[string]keyvault.Value, error) {
		decodeKind := decode.SecretData
		if kind == output.ConfigMap {
			decodeKind = decode.ConfigMapData
		}
		objects := make([]keyvault.Object, 0, len(o.contents))
		for _, content := range o.contents {
			objects = append(objects, content.Object)
		}
		made, err := share.Do(ctx, share.CacheKey(string(kind), o.recipe, objects...),
			func(ctx context.Context) (decodepool.Output, error) {
				values, err := decodeKind(ctx, o.recipe, o.contents)
				return decodepool.Output{Values: values}, err
			})
		return made.Values, err
	}
}

// desiredOutputs returns the outputs that the recipe describes, with the data that from returns.
func (c *Controller) desiredOutputs(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, r recipe.Recipe,
	from dataFunc) ([]store.Result, error) {
	owner := store.OwnerOf(resource)
	var outputs []store.Result
	for _, kind := range outputKinds(r) {
		data, err := from(kind)
		if err != nil {
			return nil, err
		}
		hash, err := c.Hasher.Hash(ctx, owner.UID, data)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, store.Result{Desired: desiredOutput(owner, r, kind, data), Hash: hash})
	}
	return outputs, nil
}

// desiredOutput returns the desired output of a kind. The recipe must have an output of that kind.
func desiredOutput(owner output.Owner, r recipe.Recipe, kind output.Kind,
	data map[string]keyvault.Value) output.Desired {
	if kind == output.ConfigMap {
		return output.DesiredConfigMap(owner, *r.ConfigMap, data)
	}
	return output.DesiredSecret(owner, *r.Secret, data)
}

// restoreOutputs creates outputs whose replacement was interrupted. It runs before the vault is read, because the vault
// can be unavailable. If it fails, the sync continues and creates them too.
func (c *Controller) restoreOutputs(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, r recipe.Recipe) {
	for _, kind := range outputKinds(r) {
		d := desiredOutput(store.OwnerOf(resource), r, kind, nil)
		switch restored, err := c.store.RestoreFromBackup(ctx, d); {
		case err != nil:
			log.FromContext(ctx).Error(err, "restoring an output whose replacement was interrupted failed", "kind",
				kind, "name", d.Name)
		case restored:
			log.FromContext(ctx).Info("restored an output whose replacement was interrupted", "kind", kind, "name",
				d.Name)
		}
	}
}

// outputKinds returns the kinds of output that a recipe describes.
func outputKinds(r recipe.Recipe) []output.Kind {
	var kinds []output.Kind
	if r.Secret != nil {
		kinds = append(kinds, output.Secret)
	}
	if r.ConfigMap != nil {
		kinds = append(kinds, output.ConfigMap)
	}
	return kinds
}

// reuseOutputs returns the outputs with the data that they already hold, for a resource that is read from the vault
// only once. So the vault is not read again after a restart, or when only labels change. The data must match the keyed
// hash in the status; otherwise the result is nil, and the vault is read.
func (c *Controller) reuseOutputs(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret,
	r recipe.Recipe) ([]store.Result,
	error) {
	if !r.IsReadOnce() || !isSpecSynced(resource) || c.Hasher.UnavailableReason() != "" {
		return nil, nil
	}
	held := func(kind output.Kind) (map[string]keyvault.Value, error) {
		name := resource.Status.SecretName
		if kind == output.ConfigMap {
			name = resource.Status.ConfigMapName
		}
		return c.store.OwnedData(ctx, output.Desired{Kind: kind, Name: name, Owner: store.OwnerOf(resource)})
	}
	outputs, err := c.desiredOutputs(ctx, resource, r, held)
	if err != nil {
		return nil, err
	}
	for _, m := range outputs {
		hash := resource.Status.SecretHash
		if m.Desired.Kind == output.ConfigMap {
			hash = resource.Status.ConfigMapHash
		}
		if m.Hash != hash {
			return nil, nil
		}
	}
	return outputs, nil
}

// isSpecSynced reports whether the current spec was synced.
func isSpecSynced(resource *v2beta1.AzureKeyVaultSecret) bool {
	ready := meta.FindStatusCondition(resource.Status.Conditions, v2beta1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == resource.Generation
}
