// Package keyvault emulates the data plane of Azure Key Vault.
//
// Test support: never imported by a shipping program. Compared with Azure: certificates and keys can only be read;
// there is no backup, no restore and no throttling (a Fault returns 429); deleted objects are kept forever; permissions
// are per vault and operation, not per object. In Azure, a vault that does not exist has no DNS name; the emulator
// drops the connection.
package keyvault
