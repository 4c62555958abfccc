// Package acr emulates Azure Container Registry: it exchanges tokens of the identity service for its own, as Azure
// documents it, and hands on to a real registry what these allow.
//
// The garden: never imported by a shipping program.
package acr
