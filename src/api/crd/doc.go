// Package crd carries the CustomResourceDefinition of AzureKeyVaultSecret, generated from the types, so that the
// programs have it with them.
//
// Floor 0. Who applies it belongs in controller/definition.
package crd
