package controller

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
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
	for _, kind := range outputKinds(s.recipe) {
		decodeKind := decode.SecretData
		if kind == output.ConfigMap {
			decodeKind = decode.ConfigMapData
		}
		made, err := share.Do(ctx, share.CacheKey(string(kind), s.recipe, objects...),
			func(ctx context.Context) (decodepool.Output, error) {
				values, err := decodeKind(ctx, s.recipe, s.contents)
				return decodepool.Output{Values: values}, err
			})
		if err != nil {
			return err
		}
		hash, err := s.Hasher.Hash(ctx, owner.UID, made.Values)
		if err != nil {
			return err
		}
		outputs = append(outputs, store.Result{Desired: desiredOutput(owner, s.recipe, kind, made.Values), Hash: hash})
	}
	s.outputs = outputs
	return nil
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

// desiredOutput returns the desired output of a kind. The recipe must have an output of that kind.
func desiredOutput(owner output.Owner, r recipe.Recipe, kind output.Kind,
	data map[string]keyvault.Value) output.Desired {
	if kind == output.ConfigMap {
		return output.DesiredConfigMap(owner, *r.ConfigMap, data)
	}
	return output.DesiredSecret(owner, *r.Secret, data)
}
