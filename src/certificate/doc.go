// Package certificate reads certificates with their private key from PFX and PEM of any make, orders chains, and writes
// PEM.
//
// Floor 1. What a Secret is made of belongs in recipe/decode, what a credential is made of in keyvault/credential.
package certificate
