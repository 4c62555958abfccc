package v2alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
)

// AzureKeyVaultSecret selects objects of an Azure Key Vault for its namespace. Use spv.no/v2beta1 in new manifests.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=azurekeyvaultsecrets,singular=azurekeyvaultsecret,shortName=akvs,categories=all,scope=Namespaced
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

	Spec v2beta1.AzureKeyVaultSecretSpec `json:"spec"`
	// +optional
	Status v2beta1.AzureKeyVaultSecretStatus `json:"status,omitempty"`
}

// AzureKeyVaultSecretList is a list of AzureKeyVaultSecret.
//
// +kubebuilder:object:root=true
type AzureKeyVaultSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AzureKeyVaultSecret `json:"items"`
}
