package recipe

import "github.com/akv2k8s/akv2k8s/src/keyvault"

// ObjectType is the type of object as users write it.
type ObjectType string

// The object types.
const (
	Secret      ObjectType = "secret"
	Certificate ObjectType = "certificate"
	Key         ObjectType = "key"
	MultiKey    ObjectType = "multi-key-value-secret"
)

// ObjectTypes lists every object type.
func ObjectTypes() []ObjectType { return []ObjectType{Secret, Certificate, Key, MultiKey} }

// Recipe is one AzureKeyVaultSecret, checked.
type Recipe struct {
	// Vault is the vault's name.
	Vault string
	// Name of the object in the vault.
	Name string
	// Version of the object; empty means the latest.
	Version string
	// Type of the object.
	Type ObjectType
	// ContentType of a MultiKey: application/x-json or application/x-yaml.
	ContentType string
	// Identity names the ServiceAccount of the resource's own namespace to read as; empty means the installation.
	Identity string
	// Transforms are names known to recipe/transform, in order.
	Transforms []string
	// Secret is nil if no Secret is wanted.
	Secret *SecretOutput
	// ConfigMap is nil if no ConfigMap is wanted.
	ConfigMap *ConfigMapOutput
}

// SecretOutput describes the Secret that a recipe makes.
type SecretOutput struct {
	Name string
	// Type of the Secret; empty means Opaque, but see recipe/decode for where the two differ.
	Type    string
	DataKey string
	// ChainOrder of certificates: empty or ensureserverfirst.
	ChainOrder string
}

// ConfigMapOutput describes the ConfigMap that a recipe makes.
type ConfigMapOutput struct {
	Name    string
	DataKey string
}

// Ref is the vault object that the recipe is made from, read as the installation; As is for the caller to set, who knows the namespace.
func (r Recipe) Ref() keyvault.Ref {
	kind := keyvault.KindSecret
	switch r.Type {
	case Certificate:
		kind = keyvault.KindCertificate
	case Key:
		kind = keyvault.KindKey
	}
	return keyvault.Ref{Vault: r.Vault, Kind: kind, Name: r.Name, Version: r.Version}
}
