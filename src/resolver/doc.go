// Package resolver makes values of references: it reads what each names, fetches the object, and takes the part that
// the query selects. The broker does it for a pod, and the injector for itself where the auth service is off.
//
// Floor 3, standard library only. Who may have the values is decided before.
package resolver
