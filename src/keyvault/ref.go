package keyvault

import "fmt"

// Identity is the ServiceAccount whose Azure identity reads a vault. The zero Identity is the identity of the
// installation.
type Identity struct{ Namespace, ServiceAccount string }

// String describes the ServiceAccount for messages.
func (i Identity) String() string {
	return fmt.Sprintf("ServiceAccount %q of namespace %q", i.ServiceAccount, i.Namespace)
}

// Ref identifies one object, or one list, of one vault. It is comparable and can be a map key.
type Ref struct {
	// Vault is the name of the vault, not its URL. The host is built from the name and the DNS suffix of the cloud.
	Vault string
	// Kind is the type of the object, or the kind of the list.
	Kind Kind
	// Name is the name of the object; empty for a list.
	Name string
	// Version is the version of the object; empty for the latest version.
	Version string
	// Identity is the identity that reads the object. It is part of the key, so an object read with one identity is
	// never served to another.
	Identity Identity
}

// String describes the object for messages.
func (r Ref) String() string {
	if r.Kind.ItemKind() != "" {
		return fmt.Sprintf("%s of vault %q", r.Kind, r.Vault)
	}
	if r.Version == "" {
		return fmt.Sprintf("%s %q of vault %q", r.Kind, r.Name, r.Vault)
	}
	return fmt.Sprintf("%s %q version %s of vault %q", r.Kind, r.Name, r.Version, r.Vault)
}
