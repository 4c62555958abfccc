package keyvault

import (
	"context"
	"time"
)

// Fetcher fetches an object or a list. Its errors are classified by package fault. Each step of a read is a Fetcher
// that wraps another one; vaultclient.New puts the steps in order.
type Fetcher interface {
	Fetch(ctx context.Context, ref Ref) (Object, error)
}

// Object is the response of a vault for a Ref.
type Object struct {
	// Ref is the requested reference; its Version is empty if the latest version was requested.
	Ref Ref
	// FallbackVault is the name of the vault that served the object because Ref's vault was unavailable; empty
	// otherwise.
	FallbackVault string
	// Version is the version that the vault returned, never empty.
	Version string
	// ContentType is the content type set on the object, for example application/x-pkcs12; can be empty.
	ContentType string
	// Value is the value of a secret, the DER encoding of a certificate, or the public JSON web key (RFC 7517) of a
	// key.
	Value Value
	// Updated is the time of the last change of the version, by the vault's clock, in whole seconds.
	Updated time.Time
	// ResponseDate is the time of the response by the vault's clock (the Date header); zero if the header is missing.
	ResponseDate time.Time
	// NotBefore is the activation date; zero if the object has none.
	NotBefore time.Time
	// Expires is the expiry date; zero if the object has none.
	Expires time.Time
	// Tags are the tags of the object.
	Tags map[string]string
	// Entries are the objects in a list, in no particular order; nil for everything else.
	Entries []Entry
}

// Entry describes one object in a list.
type Entry struct {
	// Name is the name of the object.
	Name string
	// Tags are the tags of the object's latest version.
	Tags map[string]string
	// Updated is the time of the last change of the latest version, by the vault's clock, in whole seconds.
	Updated time.Time
	// Disabled reports that the latest version is disabled, Managed that the object belongs to a certificate.
	Disabled, Managed bool
}

// Size returns the approximate memory use of the entry in bytes.
func (e Entry) Size() int {
	size := 128 + len(e.Name)
	for name, value := range e.Tags {
		size += 64 + len(name) + len(value)
	}
	return size
}
