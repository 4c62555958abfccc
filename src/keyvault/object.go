package keyvault

import "time"

// Object is what a vault answered for a Ref.
type Object struct {
	// Ref is what was asked for; its Version is empty if the latest was asked for.
	Ref Ref
	// Fallback is the vault that answered in place of Ref's, which was not available; empty if Ref's did.
	Fallback string
	// Version is the version that was answered, never empty.
	Version string
	// ContentType as set on the object, for example application/x-pkcs12; may be empty.
	ContentType string
	// Value is a secret's value, the DER of a certificate, or the JSON web key (public, RFC 7517) of a key.
	Value Value
	// Updated is when the version was last changed, by the vault's clock.
	Updated time.Time
	// Answered is when the vault gave the answer, by its own clock; zero if it did not say.
	Answered time.Time
	// NotBefore is zero if the object has no activation date.
	NotBefore time.Time
	// Expires is zero if the object has no expiry date.
	Expires time.Time
	// Tags as set on the object.
	Tags map[string]string
	// Entries of a list, in no order; nil for everything else.
	Entries []Entry
}

// Entry is an object in a list.
type Entry struct {
	// Name of the object.
	Name string
	// Tags as set on the object's latest version.
	Tags map[string]string
	// Updated is when the latest version was last changed, by the vault's clock.
	Updated time.Time
	// Disabled says that the latest version is, and Managed that the object belongs to a certificate.
	Disabled, Managed bool
}

// Size is roughly what the entry takes in memory, in bytes.
func (e Entry) Size() int {
	size := 128 + len(e.Name)
	for name, value := range e.Tags {
		size += 64 + len(name) + len(value)
	}
	return size
}
