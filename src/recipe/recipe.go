package recipe

import (
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

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
	// Identity names the ServiceAccount of the resource's own namespace to read as; empty means the installation.
	Identity string
	// Items are the objects to read: the one of spec.vault.object, or those of spec.data.
	Items []Item
	// Refresh is the time between two looks at the vault: nil means the installation's, 0 that there is one look.
	Refresh *time.Duration
	// Searches find further items in the vault's list of secrets: those of spec.dataFrom. Package recipe/decode makes
	// items of them.
	Searches []Search
	// Several says that the items are those of spec.data and spec.dataFrom: each has a data key of its own.
	Several bool
	// AllowEmpty lets an empty value of the vault become an empty value of the outputs; otherwise the outputs keep what
	// they have.
	AllowEmpty bool
	// Secret is nil if no Secret is wanted.
	Secret *SecretOutput
	// ConfigMap is nil if no ConfigMap is wanted.
	ConfigMap *ConfigMapOutput
	// Restart says which workloads are restarted when the data of the outputs change; nil means none.
	Restart *Restart
}

// The kinds of workload that can be restarted.
const (
	Deployment  = "Deployment"
	StatefulSet = "StatefulSet"
	DaemonSet   = "DaemonSet"
)

// Restart are workloads of the resource's own namespace.
type Restart struct {
	// Auto means those whose pods use the outputs; otherwise Workloads lists them.
	Auto      bool
	Workloads []Workload
}

// Workload names one.
type Workload struct{ Kind, Name string }

// Item is one object of the vault, and what is done to its value.
type Item struct {
	// Name of the object in the vault.
	Name string
	// Version of the object; empty means the latest.
	Version string
	// Type of the object.
	Type ObjectType
	// ContentType of a MultiKey: application/x-json or application/x-yaml.
	ContentType string
	// Transforms are names known to recipe/transform, in order.
	Transforms []string
	// DataKey of an item of spec.data; otherwise the output has it.
	DataKey string
}

// Search finds secrets of the vault by their names and tags.
type Search struct {
	// Prefix of the names, and Regexp (RE2) that a part of them matches; at most one is set.
	Prefix, Regexp string
	// Tags that the secrets have, with these values.
	Tags map[string]string
	// Source (RE2) in a name becomes Target in the data key; an empty Source leaves the name.
	Source, Target string
	// Transforms are names known to recipe/transform, in order.
	Transforms []string
}

// SecretOutput describes the Secret that a recipe makes.
type SecretOutput struct {
	Name string
	// Type of the Secret; empty means Opaque, but see recipe/decode for where the two differ.
	Type    string
	DataKey string
	// ChainOrder of certificates: empty or ensureserverfirst.
	ChainOrder string
	// KeyFormat of keys: raw (also if empty), pem or jwk.
	KeyFormat string
	// Labels and Annotations that the Secret gets besides the resource's own.
	Labels, Annotations map[string]string
	// Immutable Secrets can't be edited; a change makes a new one.
	Immutable bool
}

// ConfigMapOutput describes the ConfigMap that a recipe makes.
type ConfigMapOutput struct {
	Name    string
	DataKey string
	// KeyFormat of keys: raw (also if empty), pem or jwk.
	KeyFormat string
}

// Once says whether one look at the vault is all that is wanted.
func (r Recipe) Once() bool { return r.Refresh != nil && *r.Refresh == 0 }

// Interval is the time between two looks at the vault; otherwise is the installation's.
func (r Recipe) Interval(otherwise time.Duration) time.Duration {
	if r.Refresh == nil || r.Once() {
		return otherwise
	}
	return *r.Refresh
}

// List names the list of the vault's secrets, as Ref does an item.
func (r Recipe) List() keyvault.Ref {
	return keyvault.Ref{Vault: r.Vault, Kind: keyvault.KindSecretList}
}

// Ref names the item, as an object of the kind, read as the installation; As is for the caller to set, who knows the
// namespace.
func (r Recipe) Ref(item Item, kind keyvault.Kind) keyvault.Ref {
	return keyvault.Ref{Vault: r.Vault, Kind: kind, Name: item.Name, Version: item.Version}
}
