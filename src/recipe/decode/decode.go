package decode

import (
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/transform"
)

// opaque is the default type of a Secret.
const opaque = "Opaque"

// Supported says whether this version can make what the recipe asks for; if not, fault.Invalid names the field. It needs no
// vault, so a recipe that can't work costs no call.
func Supported(r recipe.Recipe) error {
	if r.Type != recipe.Secret && r.Type != recipe.MultiKey {
		return fault.New(fault.Invalid, "spec.vault.object.type %q is not supported by this version yet; use secret or multi-key-value-secret", r.Type)
	}
	return nil
}

// SupportedOutput says the same of the recipe's output.
func SupportedOutput(r recipe.Recipe) error {
	switch {
	case r.ConfigMap != nil:
		return fault.New(fault.Invalid, "spec.output.configMap is not supported by this version yet; use spec.output.secret")
	case r.Secret == nil:
		return fault.New(fault.Invalid, "spec.output has no secret; set spec.output.secret, or remove spec.output if only pods use the resource")
	case r.Secret.Type != "" && r.Secret.Type != opaque:
		return fault.New(fault.Invalid, "spec.output.secret.type %q is not supported by this version yet; use Opaque", r.Secret.Type)
	case r.Secret.DataKey == "" && r.Type != recipe.MultiKey:
		return fault.New(fault.Invalid, "spec.output.secret.dataKey is required for an object of type %s; set it to the key in the Secret", r.Type)
	}
	return nil
}

// SecretData makes the data of the recipe's Secret, by data key.
func SecretData(r recipe.Recipe, o keyvault.Object) (map[string]keyvault.Value, error) {
	if err := Supported(r); err != nil {
		return nil, err
	}
	if err := SupportedOutput(r); err != nil {
		return nil, err
	}
	if r.Type == recipe.MultiKey {
		return entries(r, o.Value)
	}
	value, err := transformed(r, o.Value)
	if err != nil {
		return nil, err
	}
	return map[string]keyvault.Value{r.Secret.DataKey: value}, nil
}

// Variable makes the value of an environment variable: the part of the object that the query selects. A query that the
// object type does not know is fault.Invalid.
func Variable(r recipe.Recipe, o keyvault.Object, query string) (keyvault.Value, error) {
	if err := Supported(r); err != nil {
		return keyvault.Value{}, err
	}
	if r.Type == recipe.MultiKey {
		return entry(r, o.Value, query)
	}
	if query != "" {
		return keyvault.Value{}, fault.New(fault.Invalid,
			"the query %q is not known for an object of type %s; remove the question mark and what follows", query, r.Type)
	}
	return transformed(r, o.Value)
}

// entry is the one that the query names.
func entry(r recipe.Recipe, v keyvault.Value, query string) (keyvault.Value, error) {
	if query == "" {
		return keyvault.Value{}, fault.New(fault.Invalid, "an object of type %s has several values; name the one that you want: NAME@azurekeyvault?KEY", r.Type)
	}
	all, err := entries(r, v)
	if err != nil {
		return keyvault.Value{}, err
	}
	value, ok := all[query]
	if !ok {
		return keyvault.Value{}, fault.New(fault.NotFound, "the object has no entry %q; add it in the vault, or correct what follows the question mark", query)
	}
	return value, nil
}

func transformed(r recipe.Recipe, v keyvault.Value) (keyvault.Value, error) {
	out, err := transform.Apply(r.Transforms, v.Reveal())
	if err != nil {
		return keyvault.Value{}, err
	}
	return keyvault.NewValue(out), nil
}
