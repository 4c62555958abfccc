// Package decodepool is a worker pool that decodes vault objects. It limits the number of concurrent decodes, serves
// namespaces in turn, limits each namespace to half of the workers, and limits the time of each decode. It caches
// results, so a refresh of an unchanged object costs one hash.
//
// A goroutine can't be killed. A decode that runs longer than limits.DecodeTime loses its worker, and a namespace with
// limits.StuckDecodes such decodes is rejected until one of them ends.
//
// Floor 2. Decoding itself belongs in recipe/decode, which limits its own work; this package is the second defense.
package decodepool
