// Package keyvault defines the types that describe Key Vault objects: Ref and Kind identify an object or a list, Object
// and Value hold the content that a vault returned, Purpose gives a read its priority, and Fetcher is the interface of
// each step of a read.
//
// Floor 0, standard library only. Fetching objects belongs in keyvault/azure, decoding their content in recipe/decode.
package keyvault
