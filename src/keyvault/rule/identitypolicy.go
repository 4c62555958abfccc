package rule

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// IdentityPolicy selects the identity that reads the objects of a namespace. Its zero value always selects the identity
// of the installation.
type IdentityPolicy struct {
	// AllowServiceAccounts enables the use of ServiceAccounts. If it is false, the ServiceAccount that a resource names
	// is ignored.
	AllowServiceAccounts bool
	// DefaultAccounts maps a namespace to the ServiceAccount of resources that name none.
	DefaultAccounts map[string]string
}

// AddDefaultAccount parses NAMESPACE=SERVICEACCOUNT, the value of a flag, and makes it the default of the namespace.
func (i *IdentityPolicy) AddDefaultAccount(text string) error {
	namespace, account, ok := strings.Cut(text, "=")
	if !ok || namespace == "" || account == "" {
		return fault.NewWithNextStep(fault.Invalid, "write NAMESPACE=SERVICEACCOUNT", "%q is not a default identity",
			text)
	}
	if i.DefaultAccounts == nil {
		i.DefaultAccounts = map[string]string{}
	}
	i.DefaultAccounts[namespace] = account
	return nil
}

// IdentityFor returns the identity for a resource of the namespace. named is the ServiceAccount that the resource
// names, or empty. The result is a ServiceAccount of the same namespace, or the identity of the installation.
func (i IdentityPolicy) IdentityFor(namespace, named string) keyvault.Identity {
	if !i.AllowServiceAccounts {
		return keyvault.Identity{}
	}
	if named == "" {
		named = i.DefaultAccounts[namespace]
	}
	if named == "" {
		return keyvault.Identity{}
	}
	return keyvault.Identity{Namespace: namespace, ServiceAccount: named}
}
