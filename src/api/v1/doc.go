// Package v1 is an old version of the AzureKeyVaultSecret API, served for existing manifests. Its spec and status are
// those of v2beta1, so reading and writing through it loses no fields.
//
// Floor 0. No program of the product uses this version.
//
// +kubebuilder:object:generate=true
// +groupName=spv.no
package v1
