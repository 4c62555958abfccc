package decode

import (
	"context"
	"slices"

	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// FolderData decodes the contents to the files of a folder in a pod, by data key. They are the data of the recipe's
// Secret. Without such an output, each type of object has its own: a certificate has tls.crt and tls.key, and the value
// of a secret or the PEM of a key has the name of the object. It stops after an object when ctx ends.
func FolderData(ctx context.Context, r recipe.Recipe, contents []FetchedItem) (map[string]keyvault.Value, error) {
	return decodeItems(ctx, r, contents, func(item recipe.Item) outputFormat { return folderFormat(r, item) })
}

// NeedsPrivateKeyForFolder reports whether a folder of the recipe has the private key of a certificate.
func NeedsPrivateKeyForFolder(r recipe.Recipe, item recipe.Item) bool {
	return typeNamed(item.Type).needsPrivateKey(folderFormat(r, item))
}

// folderFormat returns the format for an item in a folder. Only the pod reads the folder, so it can hold private keys.
// An empty value is an empty file, as it is an empty variable.
func folderFormat(r recipe.Recipe, item recipe.Item) outputFormat {
	f := typeNamed(item.Type).folderFormat(item)
	at := slices.IndexFunc(r.Outputs, func(out recipe.Output) bool { return out.Kind == recipe.OutputSecret })
	if at >= 0 {
		f = formatOf(r, r.Outputs[at])
	}
	f.allowEmpty, f.isPublic = true, false
	return f.forItem(r, item)
}

// FileValue decodes an object to the content of a file with one value. Unlike a variable, it can have NUL bytes.
func FileValue(q Query, o keyvault.Object) (keyvault.Value, error) {
	q.allowsNUL = true
	return VariableValue(q, o)
}

// CertificateWithKey decodes a certificate and its private key, for a file that holds both.
func CertificateWithKey(q Query, o keyvault.Object) (certificate.Bundle, error) {
	value := o.Value
	switch q.Item.Type {
	case Certificate:
	case Secret:
		var err error
		if value, err = newVariableBudget().applyTransforms(q.Item, value); err != nil {
			return certificate.Bundle{}, err
		}
	default:
		return certificate.Bundle{}, fault.NewWithNextStep(fault.Invalid,
			"refer to a certificate, or to a secret with one",
			"the file holds a certificate with its private key, and an object of type %s has none", q.Item.Type)
	}
	if q.Part != "" {
		return certificate.Bundle{}, fault.NewWithNextStep(fault.Invalid,
			"remove the question mark and what follows it",
			"the file holds a certificate with its private key, and the reference selects a part")
	}
	return parseWithKey(value, certificate.Parse)
}
