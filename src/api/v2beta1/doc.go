// Package v2beta1 is the storage version of the AzureKeyVaultSecret API. The old versions have the same spec and
// status, so a client that uses one of them loses no fields.
//
// Floor 0. Parsing and validating a resource belongs in recipe/fromapi.
//
// +kubebuilder:object:generate=true
// +groupName=spv.no
package v2beta1
