package decode

import (
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// The types of Secret with fixed data keys, and Opaque.
const (
	typeOpaque           = "Opaque"
	typeTLS              = "kubernetes.io/tls"
	typeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	typeDockerConfig     = "kubernetes.io/dockercfg"
	typeBasicAuth        = "kubernetes.io/basic-auth"
	typeSSHAuth          = "kubernetes.io/ssh-auth"
)

// The data keys of these types. Pods select a part of an object by the same names.
const (
	dataKeyCertificate = "tls.crt"
	dataKeyPrivateKey  = "tls.key"
	dataKeyUsername    = "username"
	dataKeyPassword    = "password"
)

// outputFormat is the part of an output's spec that decides how an item becomes data.
type outputFormat struct {
	// fieldPath is the path of the output in the resource, for error messages.
	fieldPath string
	// secretType is empty if the spec has no type, and for outputs other than Secrets.
	secretType            string
	dataKey               string
	chainOrder, keyFormat string
	// isPublic outputs can be read by many, so they hold no private keys.
	isPublic bool
	// allowEmpty accepts the empty value of a secret.
	allowEmpty bool
}

// formatOf returns the format of an output of the recipe. Every kind but Secret is public, so a new kind rejects
// private keys until it is decided otherwise here.
func formatOf(r recipe.Recipe, out recipe.Output) outputFormat {
	return outputFormat{fieldPath: out.FieldPath(), secretType: out.Type, dataKey: out.DataKey,
		chainOrder: out.ChainOrder, keyFormat: out.KeyFormat,
		isPublic:   out.Kind != recipe.OutputSecret,
		allowEmpty: r.AllowEmpty}
}

// forItem returns the format for one of the recipe's items. With several items, each has its own data key, and the type
// of the Secret sets none.
func (f outputFormat) forItem(r recipe.Recipe, item recipe.Item) outputFormat {
	if !r.MultipleItems {
		return f
	}
	f.fieldPath, f.dataKey = "spec.data[]", item.DataKey
	if f.secretType != typeOpaque {
		f.secretType = ""
	}
	return f
}

// fixedDataKey returns the data key that the Secret's type sets for the value of a secret, empty if it sets none.
func (f outputFormat) fixedDataKey() string {
	return map[string]string{typeDockerConfigJSON: ".dockerconfigjson", typeDockerConfig: ".dockercfg",
		typeSSHAuth: "ssh-privatekey"}[f.secretType]
}

// requireDataKey returns an error if the spec has no data key, for an object type that does not set it.
func (f outputFormat) requireDataKey(name recipe.ObjectType) error {
	if f.dataKey != "" {
		return nil
	}
	return fault.New(fault.Invalid,
		"%s.dataKey is required for an object of type %s; set it to the key in the output", f.fieldPath, name)
}

// decodeItem decodes one object to data and charges the budget.
func (f outputFormat) decodeItem(item FetchedItem, left *budget) (map[string]keyvault.Value, error) {
	values, err := typeNamed(item.Item.Type).outputData(f, item, left)
	if err == nil && f.isPublic {
		err = left.keyScanner.checkNoPrivateKeys(values)
	}
	return values, err
}

func (f outputFormat) singleValue(v keyvault.Value, err error) (map[string]keyvault.Value, error) {
	if err != nil {
		return nil, err
	}
	return map[string]keyvault.Value{f.dataKey: v}, nil
}

// chargeValues charges values that one step decoded from one object. The size of the object limits them.
func chargeValues(left *budget) func(map[string]keyvault.Value, error) (map[string]keyvault.Value, error) {
	return func(values map[string]keyvault.Value, err error) (map[string]keyvault.Value, error) {
		for _, value := range values {
			if err == nil {
				err = left.chargeBytes(value.Len())
			}
		}
		return values, err
	}
}

// FallbackVault returns the name of the fallback vault that an object was read from, empty if there is none.
func FallbackVault(contents []FetchedItem) string {
	for _, content := range contents {
		if other := content.Object.FallbackVault; other != "" {
			return other
		}
	}
	return ""
}
