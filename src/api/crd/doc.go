// Package crd embeds the CustomResourceDefinition of AzureKeyVaultSecret, which is generated from the Go types, in the
// programs.
//
// Floor 0. Applying the definition belongs in controller/crdupgrade.
package crd
