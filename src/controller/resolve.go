package controller

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

// readResource returns the AzureKeyVaultSecret. It returns nil if there is nothing to do: the resource does not exist,
// is being deleted (the garbage collector deletes its outputs), or has no output because only pods use it.
func (c *Controller) readResource(ctx context.Context, name types.NamespacedName) (*v2beta1.AzureKeyVaultSecret,
	error) {
	var resource v2beta1.AzureKeyVaultSecret
	if err := c.Client.Get(ctx, name, &resource); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading AzureKeyVaultSecret %s: %w", name, err)
	}
	if resource.DeletionTimestamp != nil || resource.Spec.Output == nil {
		return nil, nil
	}
	return &resource, nil
}

func resolveRecipe(resource *v2beta1.AzureKeyVaultSecret) (recipe.Recipe, error) {
	object, err := json.Marshal(resource)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	r, err := fromapi.Parse(object)
	if err != nil {
		return recipe.Recipe{}, err
	}
	// Checked before the vault is read, so that an invalid resource costs no vault call.
	return r, decode.CheckOutputs(r)
}
