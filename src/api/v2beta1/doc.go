// Package v2beta1 is the storage version of the AzureKeyVaultSecret API. The older versions serve the same spec and
// status under their own names, so that no client loses a field by reading through one of them.
//
// Floor 0. What a resource means belongs in recipe/fromapi.
//
// +kubebuilder:object:generate=true
// +groupName=spv.no
package v2beta1
