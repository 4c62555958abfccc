// Package broker is the auth service: it finds out which pod asks, allows the references that the pod's own spec holds,
// and answers their values. No Azure token leaves it, nothing is written, and nothing is left behind.
//
// Floor 4. How a vault is read belongs in keyvault/reader, what a value becomes in recipe/decode.
package broker
