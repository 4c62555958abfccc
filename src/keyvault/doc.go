// Package keyvault holds the nouns that every part of the product shares: which object of which vault is meant (Ref,
// Kind) and what was found there (Object, Value).
//
// Floor 0, standard library only. How an object is fetched belongs in keyvault/azure; what is made of it in
// recipe/decode.
package keyvault
