package rule

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Identities say as whom the objects of a namespace are read. The zero Identities are the installation's alone.
type Identities struct {
	// Allowed lets ServiceAccounts of the namespace be used; otherwise what a resource names is ignored.
	Allowed bool
	// Defaults are the ServiceAccounts of resources that name none, by namespace.
	Defaults map[string]string
}

// AddDefault adds NAMESPACE=SERVICEACCOUNT, as a flag does.
func (i *Identities) AddDefault(text string) error {
	namespace, account, ok := strings.Cut(text, "=")
	if !ok || namespace == "" || account == "" {
		return fault.Advise(fault.Invalid, "write NAMESPACE=SERVICEACCOUNT", "%q is no default identity", text)
	}
	if i.Defaults == nil {
		i.Defaults = map[string]string{}
	}
	i.Defaults[namespace] = account
	return nil
}

// Of is as whom a resource of the namespace is read that names this ServiceAccount, or none: always one of the same
// namespace, or the installation.
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
