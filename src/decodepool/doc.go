// Package decodepool runs the decoding of what vaults hold: a few at once, namespaces in turn, each with a share of the
// workers and an end. It remembers what was made while nothing changed, so that a refresh of an unchanged object costs
// a hash.
//
// A goroutine can't be killed. Decoding that does not end after limits.DecodeTime loses its worker to others, and a
// namespace with too many of them is refused until they end.
//
// Floor 2. What decoding does belongs in recipe/decode, which bounds its own work; this is the net below it.
package decodepool
