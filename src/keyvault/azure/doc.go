// Package azure reads objects and lists from Azure Key Vault with the Azure SDK, and classifies every error.
//
// Floor 3. Whether a vault is called belongs in the other steps of a read (keyvault/vaultclient), with which credential
// in keyvault/credential.
package azure
