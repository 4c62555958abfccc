package keyvault

import "fmt"

// Kind is the kind of a Key Vault object as the data plane knows it.
type Kind string

// The three kinds of object that a vault holds, each with its own list and its own permissions.
const (
	KindSecret      Kind = "secret"
	KindCertificate Kind = "certificate"
	KindKey         Kind = "key"
)

// Ref names one object of one vault. It is comparable, so it can be the key of a map.
type Ref struct {
	// Vault is the vault's name, not its URL: the host is made from it and the cloud's suffix alone.
	Vault string
	// Kind says which of the vault's lists the object is in.
	Kind Kind
	// Name of the object.
	Name string
	// Version of the object; empty means the latest.
	Version string
}

// String names the object in words, for messages.
func (r Ref) String() string {
	if r.Version == "" {
		return fmt.Sprintf("%s %q of vault %q", r.Kind, r.Name, r.Vault)
	}
	return fmt.Sprintf("%s %q version %s of vault %q", r.Kind, r.Name, r.Version, r.Vault)
}
