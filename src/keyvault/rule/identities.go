package rule

import "github.com/akv2k8s/akv2k8s/src/keyvault"

// Identities say as whom the objects of a namespace are read. The zero Identities are the installation's alone.
type Identities struct {
	// Allowed lets ServiceAccounts of the namespace be used; otherwise what a resource names is ignored.
	Allowed bool
	// Defaults are the ServiceAccounts of resources that name none, by namespace.
	Defaults map[string]string
}

// Of is as whom a resource of the namespace is read that names this ServiceAccount, or none: always one of the same namespace, or the installation.
func (i Identities) Of(namespace, named string) keyvault.Identity {
	if !i.Allowed {
		return keyvault.Identity{}
	}
	if named == "" {
		named = i.Defaults[namespace]
	}
	if named == "" {
		return keyvault.Identity{}
	}
	return keyvault.Identity{Namespace: namespace, ServiceAccount: named}
}
