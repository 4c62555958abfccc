// Package v1alpha1 is an older version of the AzureKeyVaultSecret API, served for those who have it in their manifests.
// Its spec and status are those of v2beta1, so that reading and writing through it loses nothing.
//
// Floor 0. Nothing in the product reads through this version.
//
// +kubebuilder:object:generate=true
// +groupName=spv.no
package v1alpha1
