// Package azure has the checks of Azure that only a pod of the installation can make: whether its identities get
// tokens, how the names of vaults resolve, and whether the vault objects that AzureKeyVaultSecrets name can be read.
// Its findings have the az command that mends a fault. No value, token or part of a token is in them.
//
// Floor 4. The meaning of Azure's answers belongs in diagnosis, and the Job that runs these checks in doctor/azurejob.
package azure
