// Package emulator emulates the parts of Azure that the product uses: one handler for Key Vault, Entra ID and Container
// Registry, one for the instance metadata service, and one to control them. The product can tell it from Azure only by
// the certificate authority.
//
// Test support: never imported by a shipping program. The package of each service lists what its emulation lacks.
package emulator
