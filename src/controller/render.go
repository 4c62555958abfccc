package controller

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
)

// renderOutputs decodes the objects into the outputs that the recipe describes, unless fetchObjects found that the
// outputs hold the data already. Decoded data is cached, and reused while the objects and the recipe are unchanged.
func (s *resourceSync) renderOutputs(ctx context.Context) error {
	if s.outputs != nil {
		return nil
	}
	objects := make([]keyvault.Object, 0, len(s.contents))
	for _, content := range s.contents {
		objects = append(objects, content.Object)
	}
	share, owner := s.DecodePool.ForNamespace(s.resource.Namespace), store.OwnerOf(s.resource)
	var outputs []store.Result
	for _, out := range s.recipe.Outputs {
		made, err := share.Do(ctx, share.CacheKey(out.Kind, s.recipe, objects...),
			func(ctx context.Context) (decodepool.Output, error) {
				values, err := decode.OutputData(ctx, s.recipe, out, s.contents)
				return decodepool.Output{Values: values}, err
			})
		if err != nil {
			return err
		}
		hash, err := s.Hasher.Hash(ctx, owner.UID, made.Values)
		if err != nil {
			return err
		}
		desired, err := output.NewDesired(owner, out, made.Values)
		if err != nil {
			return err
		}
		outputs = append(outputs, store.Result{Desired: desired, Hash: hash})
	}
	s.outputs = outputs
	return nil
}
