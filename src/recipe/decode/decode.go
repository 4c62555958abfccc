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
	t, private := typeNamed(item.Type), false
	for _, out := range r.Outputs {
		private = private || t.needsPrivateKey(formatOf(r, out))
	}
	return t.vaultKind(private)
}

// CheckOutputs checks that the recipe's outputs are possible. If not, it returns fault.Invalid with the name of the
// field. It needs no vault object, so an invalid recipe causes no request to the vault.
func CheckOutputs(r recipe.Recipe) error {
	if len(r.Outputs) == 0 {
		return fault.New(fault.Invalid,
			"spec.output has neither secret nor configMap; set one of them, or remove spec.output if only pods use "+
				"the resource")
	}
	for _, item := range r.Items {
		for _, out := range r.Outputs {
			if err := typeNamed(item.Type).checkOutput(formatOf(r, out).forItem(r, item)); err != nil {
				return err
			}
		}
	}
	return nil
}

// OutputData decodes the contents to the data of one of the recipe's outputs, by data key. It rejects private keys for
// every kind of output but Secret. It stops after an object when ctx ends.
func OutputData(ctx context.Context, r recipe.Recipe, out recipe.Output,
	contents []FetchedItem) (map[string]keyvault.Value, error) {
	if err := CheckOutputs(r); err != nil {
		return nil, err
	}
	return decodeItems(ctx, r, contents,
		func(item recipe.Item) outputFormat { return formatOf(r, out).forItem(r, item) })
}

// decodeItems decodes the contents, each in its format, to data by data key.
func decodeItems(ctx context.Context, r recipe.Recipe, contents []FetchedItem,
	formatFor func(recipe.Item) outputFormat) (map[string]keyvault.Value, error) {
	all, left := map[string]keyvault.Value{}, newOutputBudget()
	for _, content := range contents {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "decoding the objects")
		}
		values, err := formatFor(content.Item).decodeItem(content, left)
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

// Fingerprints returns the values by which changes of a recipe without outputs are found, by a name that is unique for
// each item. It stops after an object when ctx ends. Errors are those of references in pods.
func Fingerprints(ctx context.Context, r recipe.Recipe, contents []FetchedItem) (map[string]keyvault.Value, error) {
	all, left := make(map[string]keyvault.Value, len(contents)), newOutputBudget()
	for _, content := range contents {
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "decoding the objects")
		}
		value, err := typeNamed(content.Item.Type).fingerprint(content, left)
		if err != nil {
			return nil, wrapWithObjectName(r, content.Item, err)
		}
		item := content.Item
		all[item.DataKey+"/"+string(item.Type)+"/"+item.Name+"/"+item.Version] = value
	}
	return all, nil
}

// AlternativeKind returns the other kind of vault object from which the public part of an item can be read, for an
// identity that may not read the first one: a certificate is in the secret of the same name too. It returns an empty
// kind if there is none.
func AlternativeKind(item recipe.Item) keyvault.Kind {
	t := typeNamed(item.Type)
	if other := t.vaultKind(true); other != t.vaultKind(false) {
		return other
	}
	return ""
}

// wrapWithObjectName adds the object's name to an error if the recipe has several objects.
func wrapWithObjectName(r recipe.Recipe, item recipe.Item, err error) error {
	if !r.MultipleItems {
		return err
	}
	return fault.Wrap(fault.KindOf(err), err, "object "+item.Name)
}
