// Package cloud defines the Azure clouds: their names in every spelling, and for each the authority, the vault suffix
// and the token scope. It also parses azure.json, the file in which AKS describes the identity of the cluster.
//
// Floor 1, pure. Reading the file belongs in cmd, creating a credential from it in keyvault/credential.
package cloud
