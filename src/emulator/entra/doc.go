// Package entra emulates the part of Microsoft Entra ID that issues tokens: discovery, signing keys, and the token
// endpoint.
//
// Test support: never imported by a shipping program. The grants are client credentials (with a secret, a certificate
// or a federated token) and password; other grants get Entra's error for an unsupported grant. Package imds issues the
// tokens of managed identities. There is no conditional access, no consent and no refresh token.
package entra
