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

// The lists of a vault: names, tags and dates of its objects, without values.
const (
	KindSecretList      Kind = "secret list"
	KindCertificateList Kind = "certificate list"
	KindKeyList         Kind = "key list"
)

// List is the list in which the vault has objects of the kind; empty for a list.
func (k Kind) List() Kind {
	return map[Kind]Kind{KindSecret: KindSecretList, KindCertificate: KindCertificateList, KindKey: KindKeyList}[k]
}

// Listed is the kind of the objects in the list; empty for an object.
func (k Kind) Listed() Kind {
	return map[Kind]Kind{KindSecretList: KindSecret, KindCertificateList: KindCertificate, KindKeyList: KindKey}[k]
}

// Identity is a ServiceAccount as which a vault is read. The zero Identity is the installation itself.
type Identity struct{ Namespace, ServiceAccount string }

// String names the account in words, for messages.
func (i Identity) String() string {
	return fmt.Sprintf("ServiceAccount %q of namespace %q", i.ServiceAccount, i.Namespace)
}

// Ref names one object of one vault. It is comparable, so it can be the key of a map.
type Ref struct {
	// Vault is the vault's name, not its URL: the host is made from it and the cloud's suffix alone.
	Vault string
	// Kind says which of the vault's lists the object is in.
	Kind Kind
	// Name of the object; empty for a list.
	Name string
	// Version of the object; empty means the latest.
	Version string
	// As whom it is read. It is a part of the name, so that what one identity read is never given to another.
	As Identity
}

// String names the object in words, for messages.
func (r Ref) String() string {
	if r.Kind.Listed() != "" {
		return fmt.Sprintf("%s of vault %q", r.Kind, r.Vault)
	}
	if r.Version == "" {
		return fmt.Sprintf("%s %q of vault %q", r.Kind, r.Name, r.Vault)
	}
	return fmt.Sprintf("%s %q version %s of vault %q", r.Kind, r.Name, r.Version, r.Vault)
}
