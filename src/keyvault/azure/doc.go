// Package azure reads objects from Azure Key Vault with the Azure SDK, and gives every error its kind, once.
//
// Floor 3. When and how often to read belongs in keyvault/reader, as whom in keyvault/credential.
package azure
