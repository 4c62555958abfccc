// Package client asks the broker, from inside a pod.
//
// Floor 3, standard library only: it is linked into every pod's injector.
package client
