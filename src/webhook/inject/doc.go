// Package inject decides which containers of a pod need the injector, and mutates the pod so that they start with
// values in place of references. The mutation is idempotent.
//
// Floor 2, pure. Reads of images, ConfigMaps and certificates belong in webhook. The names of everything that is added
// to a pod belong in wire.
package inject
