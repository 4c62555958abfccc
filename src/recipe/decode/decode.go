package decode

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// FetchedItem is an item of a recipe with the vault object that was read for it.
type FetchedItem struct {
	Item   recipe.Item
	Object keyvault.Object
}

// KindForOutput returns the kind of vault object that the outputs need for the item. A certificate is read as a secret
// only if an output needs its private key, so the public certificate needs no permission for the key.
func KindForOutput(r recipe.Recipe, item recipe.Item) keyvault.Kind {
	switch item.Type {
	case recipe.Certificate:
		if r.Secret != nil && secretFormat(r).needsPrivateKey() {
			return keyvault.KindSecret
		}
		return keyvault.KindCertificate
	case recipe.Key:
		return keyvault.KindKey
	default:
		return keyvault.KindSecret
	}
}

// CheckOutputs checks that the recipe's outputs are possible. If not, it returns fault.Invalid with the name of the
// field. It needs no vault object, so an invalid recipe causes no request to the vault.
func CheckOutputs(r recipe.Recipe) error {
	if r.Secret == nil && r.ConfigMap == nil {
		return fault.New(fault.Invalid,
			"spec.output has neither secret nor configMap; set one of them, or remove spec.output if only pods use "+
				"the resource")
	}
	for _, item := range r.Items {
		if r.Secret != nil {
			if err := secretFormat(r).forItem(r, item).checkItem(item); err != nil {
				return err
			}
		}
		if r.ConfigMap != nil {
			if err := configMapFormat(r).forItem(r, item).checkItem(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// SecretData decodes the contents to the data of the recipe's Secret, by data key. It stops after an object when ctx
// ends.
func SecretData(ctx context.Context, r recipe.Recipe, contents []FetchedItem) (map[string]keyvault.Value, error) {
	return decodeAll(ctx, r, contents, secretFormat(r))
}

// ConfigMapData decodes the contents to the data of the recipe's ConfigMapData, by data key. It rejects private keys.
// It stops after an object when ctx ends.
func ConfigMapData(ctx context.Context, r recipe.Recipe, contents []FetchedItem) (map[string]keyvault.Value, error) {
	return decodeAll(ctx, r, contents, configMapFormat(r))
}

func decodeAll(ctx context.Context, r recipe.Recipe, contents []FetchedItem, s outputFormat) (map[string]keyvault.Value,
	error) {
	if err := CheckOutputs(r); err != nil {
		return nil, err
	}
	all, left := map[string]keyvault.Value{}, newOutputBudget()
	for _, content := range contents {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "decoding the objects")
		}
		values, err := s.forItem(r, content.Item).decodeItem(content, left)
		if err != nil {
			return nil, wrapWithObjectName(r, content.Item, err)
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

// wrapWithObjectName adds the object's name to an error if the recipe has several objects.
func wrapWithObjectName(r recipe.Recipe, item recipe.Item, err error) error {
	if !r.MultipleItems {
		return err
	}
	return fault.Wrap(fault.KindOf(err), err, "object "+item.Name)
}
