// Package client is the injector's client of the auth service (package broker).
//
// Floor 3, standard library only: it is linked into every pod's injector. Serving requests belongs in broker.
package client
