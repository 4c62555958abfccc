// Package cloud knows the Azure clouds: their names in any spelling, and for each the authority, the vault suffix and
// the token scope. It also parses azure.json, the file in which AKS describes the cluster's own identity.
//
// Floor 1, pure. Reading the file belongs in cmd; making a credential of it in keyvault/credential.
package cloud
