// Package entra emulates the part of Microsoft Entra ID that gives tokens: discovery, signing keys, and the token
// endpoint.
//
// The garden: never imported by a shipping program. Thinner than the real one: of the flows there is client credentials
// with a secret; other grants are answered as Entra answers what it does not support. Tokens of managed identities are
// issued through package imds. There is no conditional access, no consent, no refresh.
package entra
