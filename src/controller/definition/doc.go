// Package definition keeps the CustomResourceDefinition of AzureKeyVaultSecret as new as the program that reads by it:
// the hook of the chart applies it, and the controller checks it before it starts.
//
// Floor 3. The definition itself is in api/crd.
package definition
