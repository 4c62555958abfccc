package v2beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AzureKeyVaultSecret selects objects of an Azure Key Vault for its namespace. If spec.output is set, a Secret or
// ConfigMap is kept in sync with them. Pods of the namespace refer to them as name@azurekeyvault. The annotation
// akv2k8s.io/refresh, with any new value, requests a refresh now.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:path=azurekeyvaultsecrets,singular=azurekeyvaultsecret,shortName=akvs,categories=all,scope=Namespaced
// +kubebuilder:metadata:annotations="akv2k8s.io/schema=3"
// +kubebuilder:printcolumn:name="Vault",type=string,JSONPath=`.spec.vault.name`,description="Which Key Vault this resource reads"
// +kubebuilder:printcolumn:name="Vault Object",type=string,JSONPath=`.spec.vault.object.name`,description="Which object of the vault this resource reads"
// +kubebuilder:printcolumn:name="Secret Name",type=string,JSONPath=`.status.secretName`,description="The Secret that is kept in sync, if any"
// +kubebuilder:printcolumn:name="ConfigMap Name",type=string,JSONPath=`.status.configMapName`,description="The ConfigMap that is kept in sync, if any"
// +kubebuilder:printcolumn:name="Changed",type=date,JSONPath=`.status.lastAzureUpdate`,description="When the data last changed"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the output is in sync, or the object can be read"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is ready, or is not"
// +kubebuilder:printcolumn:name="Expires",type=string,priority=1,JSONPath=`.status.expires`,description="When the object in the vault expires, if it does"
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,description="What was read, or what to do"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AzureKeyVaultSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AzureKeyVaultSecretSpec `json:"spec"`
	// +optional
	Status AzureKeyVaultSecretStatus `json:"status,omitempty"`
}

// AzureKeyVaultSecretList is a list of AzureKeyVaultSecret.
//
// +kubebuilder:object:root=true
type AzureKeyVaultSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AzureKeyVaultSecret `json:"items"`
}

// AzureKeyVaultSecretSpec is the desired state of a resource.
//
// +kubebuilder:validation:XValidation:rule="has(self.vault.object) != (has(self.data) || has(self.dataFrom))",message="set either vault.object, for one object, or data and dataFrom, for several",fieldPath=".data"
// +kubebuilder:validation:XValidation:rule="!(has(self.data) || has(self.dataFrom)) || !has(self.output) || !(has(self.output.transform) || has(self.output.transforms))",message="with data and dataFrom, set the transform of each of their items",fieldPath=".output"
// +kubebuilder:validation:XValidation:rule="!has(self.output) || !has(self.output.secret) || !has(self.vault.object) || (has(self.output.secret.dataKey) && size(self.output.secret.dataKey) > 0) || self.vault.object.type == 'multi-key-value-secret' || (has(self.output.secret.type) && (self.vault.object.type == 'secret' ? self.output.secret.type in ['kubernetes.io/tls', 'kubernetes.io/dockerconfigjson', 'kubernetes.io/dockercfg', 'kubernetes.io/basic-auth', 'kubernetes.io/ssh-auth'] : self.vault.object.type == 'certificate' && self.output.secret.type == 'kubernetes.io/tls'))",message="dataKey is required for this type of object and of Secret; set it to the key in the Secret",fieldPath=".output.secret.dataKey"
// +kubebuilder:validation:XValidation:rule="!has(self.output) || !has(self.output.configMap) || !has(self.vault.object) || (has(self.output.configMap.dataKey) && size(self.output.configMap.dataKey) > 0) || self.vault.object.type == 'multi-key-value-secret'",message="dataKey is required for this type of object; set it to the key in the ConfigMap",fieldPath=".output.configMap.dataKey"
// +kubebuilder:validation:XValidation:rule="!has(self.output) || !has(self.output.secret) || !has(self.output.secret.type) || !has(self.vault.object) || self.vault.object.type != 'key' || self.output.secret.type != 'kubernetes.io/tls'",message="a key has no certificate, so it can't become a kubernetes.io/tls Secret; use an object of type certificate, or another type of Secret",fieldPath=".output.secret.type"
type AzureKeyVaultSecretSpec struct {
	// Vault names the vault, and the object in it unless data or dataFrom is set.
	Vault AzureKeyVault `json:"vault"`
	// Data lists several objects of the vault that become one output, each with a data key of its own. It excludes
	// vault.object.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.dataKey) || self.exists_one(b, has(b.dataKey) && b.dataKey == a.dataKey))",message="each dataKey must be different"
	// +optional
	Data []AzureKeyVaultData `json:"data,omitempty"`
	// DataFrom finds secrets of the vault by name or tags. Each of them becomes a data key of the output. It excludes
	// vault.object. If data has the same key, data takes precedence.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +optional
	DataFrom []AzureKeyVaultDataFrom `json:"dataFrom,omitempty"`
	// RefreshInterval is the time between two refreshes from the vault, from 1s to 8760h; 0 means to read the vault
	// only once. The default is the interval of the installation.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self == 0 : (string(self) == '0' || (string(self).matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && (duration(string(self)) == duration('0s') || (duration(string(self)) >= duration('1s') && duration(string(self)) <= duration('8760h')))))",message="must be 0 (read once) or a duration from 1s to 8760h, such as 90s or 1h30m"
	// +optional
	RefreshInterval *intstr.IntOrString `json:"refreshInterval,omitempty"`
	// RolloutRestart selects the workloads to restart when the data of the output changes, or the value that pods refer
	// to, if the installation allows restarts.
	// +optional
	RolloutRestart *AzureKeyVaultRolloutRestart `json:"rolloutRestart,omitempty"`
	// Output defines the Secret or ConfigMap to keep in sync. Without it, only pods use the resource
	// (name@azurekeyvault), and the status shows whether the objects can be read.
	// +optional
	Output *AzureKeyVaultOutput `json:"output,omitempty"`
}

// AzureKeyVaultRolloutRestart selects workloads of this namespace. A workload is restarted only if it has the
// annotation akv2k8s.io/restart: "true".
//
// +kubebuilder:validation:XValidation:rule="(has(self.auto) && self.auto) != (has(self.workloads) || has(self.selector))",message="set auto to true, or list workloads or set a selector"
type AzureKeyVaultRolloutRestart struct {
	// Auto selects the workloads whose pod template uses the output, or refers to this resource.
	// +optional
	Auto bool `json:"auto,omitempty"`
	// Workloads to restart, whether they use the output or not.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Workloads []AzureKeyVaultWorkload `json:"workloads,omitempty"`
	// Selector selects workloads by their own labels, in addition to workloads.
	// +optional
	Selector *AzureKeyVaultWorkloadSelector `json:"selector,omitempty"`
}

// AzureKeyVaultWorkloadSelector selects the workloads that meet all of its conditions.
//
// +kubebuilder:validation:XValidation:rule="has(self.matchLabels) || has(self.matchExpressions)",message="set matchLabels or matchExpressions: an empty selector would select every workload of the namespace"
type AzureKeyVaultWorkloadSelector struct {
	// MatchLabels are labels that the workload must have, with these values.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
	// MatchExpressions are further conditions on labels.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +optional
	MatchExpressions []AzureKeyVaultLabelExpression `json:"matchExpressions,omitempty"`
}

// AzureKeyVaultLabelExpression is a condition on one label.
//
// +kubebuilder:validation:XValidation:rule="has(self.values) == (self.operator in ['In', 'NotIn'])",message="set values for the operators In and NotIn only",fieldPath=".values"
type AzureKeyVaultLabelExpression struct {
	// Key of the label.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`
	// Operator of the condition.
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator string `json:"operator"`
	// Values of the label that In allows and NotIn excludes.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Values []string `json:"values,omitempty"`
}

// AzureKeyVaultWorkload names a workload.
type AzureKeyVaultWorkload struct {
	// Kind of the workload. Rollout is that of Argo Rollouts.
	// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet;Rollout
	Kind string `json:"kind"`
	// Name of the workload.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// AzureKeyVaultData is one of several objects.
//
// +kubebuilder:validation:XValidation:rule="has(self.dataKey) != (self.object.type == 'multi-key-value-secret')",message="dataKey is required, except for a multi-key-value-secret, whose entries have their own keys",fieldPath=".dataKey"
type AzureKeyVaultData struct {
	// Object in the vault.
	Object AzureKeyVaultObject `json:"object"`
	// DataKey is the key in the output's data. Pods select the object by it (name@azurekeyvault?dataKey).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*)?$`
	// +optional
	DataKey string `json:"dataKey,omitempty"`
	// Transform lists the transforms of the value, in the order in which they are applied.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Transform []Transform `json:"transform,omitempty"`
}

// AzureKeyVaultDataFrom finds secrets of the vault. It ignores secrets that are disabled or belong to a certificate.
type AzureKeyVaultDataFrom struct {
	// Match selects the secrets.
	Match AzureKeyVaultMatch `json:"match"`
	// Rewrite derives the data key from the name. Without it, the name is the data key.
	// +optional
	Rewrite *AzureKeyVaultRewrite `json:"rewrite,omitempty"`
	// Transform lists the transforms of each value, in the order in which they are applied.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Transform []Transform `json:"transform,omitempty"`
}

// AzureKeyVaultMatch selects the secrets that meet all of its conditions.
//
// +kubebuilder:validation:XValidation:rule="has(self.prefix) || has(self.regexp) || has(self.tags)",message="set prefix, regexp or tags: an empty match would select every secret of the vault"
// +kubebuilder:validation:XValidation:rule="!(has(self.prefix) && has(self.regexp))",message="set prefix or regexp, not both",fieldPath=".regexp"
type AzureKeyVaultMatch struct {
	// Prefix of the name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=127
	// +optional
	Prefix string `json:"prefix,omitempty"`
	// Regexp (RE2) that matches a part of the name; ^ and $ match the beginning and end of the name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="type(''.matches(self)) == bool",message="must be a regular expression (RE2)"
	// +optional
	Regexp string `json:"regexp,omitempty"`
	// Tags that the secret must have, with these values.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=15
	// +optional
	Tags map[string]string `json:"tags,omitempty"`
}

// AzureKeyVaultRewrite replaces every match of Source in a name.
type AzureKeyVaultRewrite struct {
	// Source is a regular expression (RE2).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="type(''.matches(self)) == bool",message="must be a regular expression (RE2)"
	Source string `json:"source"`
	// Target replaces each match of Source; ${1} is its first group.
	// +kubebuilder:validation:MaxLength=253
	Target string `json:"target"`
}

// AzureKeyVault names a vault, and one object in it unless spec.data names several.
type AzureKeyVault struct {
	// Name of the Azure Key Vault, without the domain: my-vault, not my-vault.vault.azure.net.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$') && !self.contains('--')",message="must be the vault's name alone: 3 to 24 letters, digits and single hyphens, starting with a letter, without a domain or a URL"
	Name string `json:"name"`
	// Object in the vault; required unless spec.data or spec.dataFrom is set.
	// +optional
	Object AzureKeyVaultObject `json:"object,omitzero"`
	// AzureIdentity names the ServiceAccount of this namespace whose workload identity reads the vault, if the
	// installation allows it.
	// +optional
	AzureIdentity *AzureIdentity `json:"azureIdentity,omitempty"`
}

// AzureIdentity names an identity of this namespace.
type AzureIdentity struct {
	// Name of a ServiceAccount of the same namespace.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// AzureKeyVaultObjectType is the type of an object.
//
// +kubebuilder:validation:Enum=secret;certificate;key;multi-key-value-secret
type AzureKeyVaultObjectType string

// The object types. A multi-key-value-secret is a secret whose value is a JSON or YAML object.
const (
	ObjectTypeSecret              AzureKeyVaultObjectType = "secret"
	ObjectTypeCertificate         AzureKeyVaultObjectType = "certificate"
	ObjectTypeKey                 AzureKeyVaultObjectType = "key"
	ObjectTypeMultiKeyValueSecret AzureKeyVaultObjectType = "multi-key-value-secret"
)

// AzureKeyVaultObject names an object of the vault.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'multi-key-value-secret' || has(self.contentType)",message="contentType is required for a multi-key-value-secret: application/x-json or application/x-yaml",fieldPath=".contentType"
type AzureKeyVaultObject struct {
	// Name of the object in the vault.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9-]{1,127}$')",message="must be the object's name alone: 1 to 127 letters, digits and hyphens"
	Name string `json:"name"`
	// Type of the object.
	Type AzureKeyVaultObjectType `json:"type"`
	// Version of the object; empty means the latest.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9]*$`
	// +optional
	Version string `json:"version,omitempty"`
	// ContentType is the format of a multi-key-value-secret.
	// +kubebuilder:validation:Enum=application/x-json;application/x-yaml
	// +optional
	ContentType string `json:"contentType,omitempty"`
}

// AzureKeyVaultOutput defines the Secret and the ConfigMap to keep in sync.
//
// +kubebuilder:validation:XValidation:rule="has(self.secret) || has(self.configMap)",message="set secret or configMap, or remove output if only pods use the resource"
// +kubebuilder:validation:XValidation:rule="!(has(self.transform) && has(self.transforms))",message="use either transform or its old spelling transforms, not both",fieldPath=".transforms"
type AzureKeyVaultOutput struct {
	// Secret describes the Secret that is kept in sync with the object.
	// +optional
	Secret *AzureKeyVaultOutputSecret `json:"secret,omitempty"`
	// ConfigMap describes the ConfigMap that is kept in sync with the object.
	// +optional
	ConfigMap *AzureKeyVaultOutputConfigMap `json:"configMap,omitempty"`
	// Transform lists the transforms of the value, in the order in which they are applied.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Transform []Transform `json:"transform,omitempty"`
	// AllowEmpty writes an empty value of the vault to the output. Otherwise the output keeps its data.
	// +optional
	AllowEmpty bool `json:"allowEmpty,omitempty"`
	// Transforms is the spelling of v1alpha1 for transform.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Transforms []Transform `json:"transforms,omitempty"`
}

// Transform is a change of a value.
//
// +kubebuilder:validation:Enum=trim;base64encode;base64decode
type Transform string

// AzureKeyVaultOutputSecret describes a Secret.
type AzureKeyVaultOutputSecret struct {
	// Name of the Secret, in the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
	// Type of the Secret; Opaque if empty. Types for credentials of the cluster are rejected.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",message="this type is reserved: its Secrets are credentials of the cluster itself"
	// +optional
	Type string `json:"type,omitempty"`
	// DataKey is the key in the Secret's data.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*)?$`
	// +optional
	DataKey string `json:"dataKey,omitempty"`
	// ChainOrder is the order of certificates: that of the object if empty; ensureserverfirst puts the leaf first.
	// +kubebuilder:validation:Enum=ensureserverfirst
	// +optional
	ChainOrder string `json:"chainOrder,omitempty"`
	// KeyFormat is the format of an object of type key: raw, the default, is the modulus of an RSA key; pem and jwk
	// support all keys.
	// +optional
	KeyFormat KeyFormat `json:"keyFormat,omitempty"`
	// Metadata of the Secret, in addition to the labels and annotations of this resource.
	// +optional
	Metadata *AzureKeyVaultOutputMetadata `json:"metadata,omitempty"`
	// Immutable makes the Secret immutable. When the object changes, a new Secret replaces it.
	// +optional
	Immutable bool `json:"immutable,omitempty"`
}

// KeyFormat is the encoding of a key.
//
// +kubebuilder:validation:Enum=raw;pem;jwk
type KeyFormat string

// AzureKeyVaultOutputMetadata are labels and annotations.
type AzureKeyVaultOutputMetadata struct {
	// Labels of the Secret.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations of the Secret.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// AzureKeyVaultOutputConfigMap describes a ConfigMap.
type AzureKeyVaultOutputConfigMap struct {
	// Name of the ConfigMap, in the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
	// DataKey is the key in the ConfigMap's data.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*)?$`
	// +optional
	DataKey string `json:"dataKey,omitempty"`
	// KeyFormat is the format of an object of type key: raw, the default, is the modulus of an RSA key; pem and jwk
	// support all keys.
	// +optional
	KeyFormat KeyFormat `json:"keyFormat,omitempty"`
}
