// Package rule decides which namespaces can read which vaults, and with which identity.
//
// Floor 1, pure. Every component checks the rules before it reads a vault for a namespace. Obtaining tokens for an
// identity belongs in keyvault/serviceaccount and keyvault/credential.
package rule
