package recipe

import (
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// ObjectType is the type of a vault object, as users write it in spec.vault.object.type. The types are in
// recipe/decode.
type ObjectType string

// Recipe is the validated spec of one AzureKeyVaultSecret.
type Recipe struct {
	// Vault is the vault's name.
	Vault string
	// Identity names the ServiceAccount of the resource's namespace whose identity reads the vault; empty means the
	// identity of the installation.
	Identity string
	// Items are the vault objects to read: the one of spec.vault.object, or those of spec.data.
	Items []Item
	// RefreshInterval is the time between two refreshes: nil means the installation's interval, 0 means to read the
	// vault only once.
	RefreshInterval *time.Duration
	// Searches are those of spec.dataFrom. They find further items in the vault's list of secrets; recipe/decode adds
	// these items.
	Searches []Search
	// MultipleItems is true if the items come from spec.data and spec.dataFrom, where each item has its own data key.
	MultipleItems bool
	// AllowEmpty writes an empty value of the vault to the outputs; otherwise the outputs keep their data.
	AllowEmpty bool
	// Outputs are the objects to write, at most one of each kind; empty if only pods use the resource.
	Outputs []Output
	// Restart selects the workloads to restart when the data of an output, or a value that only pods use, changes; nil
	// means none.
	Restart *Restart
}

// The kinds of workload that can be restarted.
const (
	Deployment  = "Deployment"
	StatefulSet = "StatefulSet"
	DaemonSet   = "DaemonSet"
	// Rollout is the kind of Argo Rollouts.
	Rollout = "Rollout"
)

// WorkloadKinds returns the kinds of workload that can be restarted.
func WorkloadKinds() []string { return []string{Deployment, StatefulSet, DaemonSet, Rollout} }

// Restart selects workloads of the resource's namespace.
type Restart struct {
	// Auto selects the workloads whose pods use the outputs or refer to the resource; otherwise Workloads lists them,
	// and Labels selects more of them.
	Auto      bool
	Workloads []Workload
	// Labels selects workloads that meet all of these conditions; empty selects none.
	Labels []LabelCondition
}

// LabelCondition is a condition on a label of a workload. Keys and values are valid in Kubernetes.
type LabelCondition struct {
	Key string
	// Operator is In, NotIn, Exists or DoesNotExist.
	Operator string
	// Values are those of In and NotIn.
	Values []string
}

// The operators of label conditions, as in Kubernetes.
const (
	LabelIn           = "In"
	LabelNotIn        = "NotIn"
	LabelExists       = "Exists"
	LabelDoesNotExist = "DoesNotExist"
)

// Workload names a workload.
type Workload struct{ Kind, Name string }

// Item is one vault object, and how its value becomes output data.
type Item struct {
	// Name of the object in the vault.
	Name string
	// Version of the object; empty means the latest.
	Version string
	// Type of the object.
	Type ObjectType
	// ContentType of a MultiKey object: application/x-json or application/x-yaml.
	ContentType string
	// Transforms are names of package recipe/transform, in order.
	Transforms []string
	// DataKey of an item of spec.data; for spec.vault.object, the output has the data key.
	DataKey string
}

// Search selects secrets of the vault by name and tags.
type Search struct {
	// Prefix of the name, or Regexp (RE2) that matches a part of the name; at most one is set.
	Prefix, Regexp string
	// Tags that the secret must have, with these values.
	Tags map[string]string
	// Source (RE2) is replaced by Target to get the data key; with an empty Source, the name is the data key.
	Source, Target string
	// Transforms are names of package recipe/transform, in order.
	Transforms []string
}

// The kinds of output that the code names. Every kind has a file in controller/output.
const (
	OutputSecret    = "Secret"
	OutputConfigMap = "ConfigMap"
)

// Output describes one output. Fields that its kind does not have are empty.
type Output struct {
	// Kind of the object in Kubernetes, such as Secret.
	Kind string
	// Name of the object.
	Name string
	// Type of a Secret. Empty means Opaque, but recipe/decode decodes certificates differently for the two.
	Type    string
	DataKey string
	// ChainOrder of certificates: empty or ensureserverfirst.
	ChainOrder string
	// KeyFormat of keys: raw (also if empty), pem or jwk.
	KeyFormat string
	// Labels and Annotations of the object, in addition to those of the resource.
	Labels, Annotations map[string]string
	// Immutable creates an immutable object; a change replaces it by a new one.
	Immutable bool
}

// FieldPath returns the path of the output in the resource: the kind with a lower-case first letter, as in all fields
// of the API.
func (o Output) FieldPath() string {
	if o.Kind == "" {
		return "spec.output"
	}
	return "spec.output." + strings.ToLower(o.Kind[:1]) + o.Kind[1:]
}

// IsReadOnce reports whether the vault is read only once, without refreshes.
func (r Recipe) IsReadOnce() bool { return r.RefreshInterval != nil && *r.RefreshInterval == 0 }

// RefreshIntervalOr returns the time between two refreshes. The argument otherwise is the installation's interval.
func (r Recipe) RefreshIntervalOr(otherwise time.Duration) time.Duration {
	if r.RefreshInterval == nil || r.IsReadOnce() {
		return otherwise
	}
	return *r.RefreshInterval
}

// SecretListRef returns the reference to the vault's list of secrets. The caller sets As, because a Recipe does not
// know its namespace.
func (r Recipe) SecretListRef() keyvault.Ref {
	return keyvault.Ref{Vault: r.Vault, Kind: keyvault.KindSecretList}
}

// ItemRef returns the reference to an item as an object of the kind, read with the installation's identity. The caller
// sets As, because a Recipe does not know its namespace.
func (r Recipe) ItemRef(item Item, kind keyvault.Kind) keyvault.Ref {
	return keyvault.Ref{Vault: r.Vault, Kind: kind, Name: item.Name, Version: item.Version}
}
