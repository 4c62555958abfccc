// Package azure reads objects and lists from Azure Key Vault with the Azure SDK, and classifies every error.
//
// Floor 3. When an object is read belongs in keyvault/reader, with which credential in keyvault/credential.
package azure
