// Package keyvault emulates the data plane of Azure Key Vault.
//
// The garden: never imported by a shipping program. Thinner than the real one: secrets only; no backup and restore, no
// private endpoints, no real throttling (429 comes by a fault), retention of deleted objects is endless, permissions
// are per vault and operation and not per object. A vault that does not exist has no DNS name in Azure; here its
// connection is dropped.
package keyvault
