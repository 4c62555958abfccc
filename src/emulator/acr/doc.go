// Package acr emulates Azure Container Registry: it exchanges Entra ID tokens for registry tokens, as Azure documents
// it, and forwards authorized requests to a registry in memory.
//
// Test support: never imported by a shipping program. Every registry has the same images, and a token allows all of
// them.
package acr
