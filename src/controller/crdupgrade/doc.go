// Package crdupgrade installs the CustomResourceDefinition of AzureKeyVaultSecret and checks its schema version. The
// chart's hook applies the definition, and the controller checks it before it starts.
//
// Floor 3. The definition itself belongs in api/crd.
package crdupgrade
