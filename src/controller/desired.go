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

// dataFunc returns the data for an output.
type dataFunc func(out recipe.Output) (map[string]keyvault.Value, error)

// contentDecoder returns a function that decodes what the vault returned. Results are cached, and reused while the
// objects and the recipe are unchanged.
func (c *Controller) contentDecoder(ctx context.Context, namespace string, o syncResult) dataFunc {
	share := c.DecodePool.ForNamespace(namespace)
	return func(out recipe.Output) (map[string]keyvault.Value, error) {
		objects := make([]keyvault.Object, 0, len(o.contents))
		for _, content := range o.contents {
			objects = append(objects, content.Object)
		}
		made, err := share.Do(ctx, share.CacheKey(out.Kind, o.recipe, objects...),
			func(ctx context.Context) (decodepool.Output, error) {
				values, err := decode.OutputData(ctx, o.recipe, out, o.contents)
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
	for _, out := range r.Outputs {
		data, err := from(out)
		if err != nil {
			return nil, err
		}
		hash, err := c.Hasher.Hash(ctx, owner.UID, data)
		if err != nil {
			return nil, err
		}
		desired, err := output.NewDesired(owner, out, data)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, store.Result{Desired: desired, Hash: hash})
	}
	return outputs, nil
}

// restoreOutputs creates outputs whose replacement was interrupted. It runs before the vault is read, because the vault
// can be unavailable. If it fails, the sync continues and creates them too.
func (c *Controller) restoreOutputs(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, r recipe.Recipe) {
	for _, out := range r.Outputs {
		restored, err := c.restoreOutput(ctx, resource, out)
		switch {
		case err != nil:
			log.FromContext(ctx).Error(err, "restoring an output whose replacement was interrupted failed", "kind",
				out.Kind, "name", out.Name)
		case restored:
			log.FromContext(ctx).Info("restored an output whose replacement was interrupted", "kind", out.Kind,
				"name", out.Name)
		}
	}
}

func (c *Controller) restoreOutput(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret,
	out recipe.Output) (restored bool, err error) {
	desired, err := output.NewDesired(store.OwnerOf(resource), out, nil)
	if err != nil {
		return false, err
	}
	return c.store.RestoreFromBackup(ctx, desired)
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
	held := func(out recipe.Output) (map[string]keyvault.Value, error) {
		kind, err := output.KindNamed(out.Kind)
		if err != nil {
			return nil, err
		}
		return c.store.OwnedData(ctx, output.Desired{Kind: kind, Name: output.NameInStatus(kind, &resource.Status),
			Owner: store.OwnerOf(resource)})
	}
	outputs, err := c.desiredOutputs(ctx, resource, r, held)
	if err != nil {
		return nil, err
	}
	for _, m := range outputs {
		if m.Hash != *m.Desired.Kind.StatusFields(&resource.Status).Hash {
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
