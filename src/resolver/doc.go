// Package resolver resolves references to values. It reads the AzureKeyVaultSecret that a reference names, reads the
// vault object, and takes the part that the query selects. The broker resolves the references of pods. If the auth
// service is off, the injector resolves its own.
//
// Floor 3, standard library only. Authorization does not belong here; the broker decides before it resolves.
package resolver
