// Package podos says whether a pod can only run on Windows, by what its spec requires.
//
// Floor 1, pure. What follows from the answer belongs in webhook/inject.
package podos
