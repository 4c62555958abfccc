// Package emulator stands in for Azure where there is none: one server for vaults and Entra ID, one for the metadata
// service, one to control them. The product can't tell it from Azure but by its certificate authority.
//
// The garden: never imported by a shipping program. What each part lacks is said in its own package.
package emulator
