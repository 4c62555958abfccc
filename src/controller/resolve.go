package controller

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
)

// readResource reads the AzureKeyVaultSecret. There is nothing to do if the resource does not exist, is being deleted
// (the garbage collector deletes its outputs), or has no output because only pods use it and the installation does not
// watch such resources.
func (s *resourceSync) readResource(ctx context.Context) error {
	var resource v2beta1.AzureKeyVaultSecret
	if err := s.Client.Get(ctx, s.name, &resource); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading AzureKeyVaultSecret %s: %w", s.name, err)
	}
	if resource.DeletionTimestamp == nil && (resource.Spec.Output != nil || s.WatchInjected) {
		s.resource = &resource
	}
	return nil
}

// resolveRecipe converts the spec to a recipe.
func (s *resourceSync) resolveRecipe(context.Context) error {
	object, err := json.Marshal(s.resource)
	if err != nil {
		return fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	if s.recipe, err = fromapi.Parse(object); err != nil {
		return err
	}
	if s.isForPodsOnly() {
		return nil
	}
	// Checked before the vault is read, so that an invalid resource costs no vault call.
	return decode.CheckOutputs(s.recipe)
}

// isForPodsOnly reports whether the resource has no outputs. Its objects are only read to report their state, and to
// restart workloads.
func (s *resourceSync) isForPodsOnly() bool { return s.resource.Spec.Output == nil }
