package decode

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Content is an item of a recipe with the vault object that was read for it.
type Content struct {
	Item   recipe.Item
	Object keyvault.Object
}

// Kind returns the kind of vault object that the outputs need for the item. A certificate is read as a secret only if
// an output needs its private key, so the public certificate needs no permission for the key.
func Kind(r recipe.Recipe, item recipe.Item) keyvault.Kind {
	switch item.Type {
	case recipe.Certificate:
		if r.Secret != nil && shapeOfSecret(r).private() {
			return keyvault.KindSecret
		}
		return keyvault.KindCertificate
	case recipe.Key:
		return keyvault.KindKey
	default:
		return keyvault.KindSecret
	}
}

// Check checks that the recipe's outputs are possible. If not, it returns fault.Invalid with the name of the field. It
// needs no vault object, so an invalid recipe causes no request to the vault.
func Check(r recipe.Recipe) error {
	if r.Secret == nil && r.ConfigMap == nil {
		return fault.New(fault.Invalid,
			"spec.output has neither secret nor configMap; set one of them, or remove spec.output if only pods use "+
				"the resource")
	}
	for _, item := range r.Items {
		if r.Secret != nil {
			if err := shapeOfSecret(r).of(r, item).check(item); err != nil {
				return err
			}
		}
		if r.ConfigMap != nil {
			if err := shapeOfConfigMap(r).of(r, item).check(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// Secret decodes the contents to the data of the recipe's Secret, by data key. It stops after an object when ctx ends.
func Secret(ctx context.Context, r recipe.Recipe, contents []Content) (map[string]keyvault.Value, error) {
	return assemble(ctx, r, contents, shapeOfSecret(r))
}

// ConfigMap decodes the contents to the data of the recipe's ConfigMap, by data key. It rejects private keys. It stops
// after an object when ctx ends.
func ConfigMap(ctx context.Context, r recipe.Recipe, contents []Content) (map[string]keyvault.Value, error) {
	return assemble(ctx, r, contents, shapeOfConfigMap(r))
}

func assemble(ctx context.Context, r recipe.Recipe, contents []Content, s shape) (map[string]keyvault.Value, error) {
	if err := Check(r); err != nil {
		return nil, err
	}
	all, left := map[string]keyvault.Value{}, outputBudget()
	for _, content := range contents {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "decoding the objects")
		}
		values, err := s.of(r, content.Item).values(content, left)
		if err != nil {
			return nil, nameObject(r, content.Item, err)
		}
		for key, value := range values {
			if _, taken := all[key]; taken {
				return nil, fault.New(fault.Malformed,
					"two objects have the data key %q; choose different data keys in spec.data", key)
			}
			all[key] = value
		}
	}
	return all, nil
}

// nameObject adds the object's name to an error if the recipe has several objects.
func nameObject(r recipe.Recipe, item recipe.Item, err error) error {
	if !r.Several {
		return err
	}
	return fault.Wrap(fault.KindOf(err), err, "object "+item.Name)
}
