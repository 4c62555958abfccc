package rule

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Identities selects the identity that reads the objects of a namespace. Its zero value always selects the identity of
// the installation.
type Identities struct {
	// Allowed enables the use of ServiceAccounts. If it is false, the ServiceAccount that a resource names is ignored.
	Allowed bool
	// Defaults maps a namespace to the ServiceAccount of resources that name none.
	Defaults map[string]string
}

// AddDefault parses NAMESPACE=SERVICEACCOUNT, the value of a flag, and makes it the default of the namespace.
func (i *Identities) AddDefault(text string) error {
	namespace, account, ok := strings.Cut(text, "=")
	if !ok || namespace == "" || account == "" {
		return fault.Advise(fault.Invalid, "write NAMESPACE=SERVICEACCOUNT", "%q is not a default identity", text)
	}
	if i.Defaults == nil {
		i.Defaults = map[string]string{}
	}
	i.Defaults[namespace] = account
	return nil
}

// Of returns the identity for a resource of the namespace. named is the ServiceAccount that the resource names, or
// empty. The result is a ServiceAccount of the same namespace, or the identity of the installation.
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
