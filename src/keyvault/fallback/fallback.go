package fallback

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Fetcher reads an object from its vault, or from the fallback of the vault. It is safe for concurrent use.
type Fetcher struct {
	next        keyvault.Fetcher
	fallbacks   map[string]string
	callTimeout time.Duration
}

var _ keyvault.Fetcher = (*Fetcher)(nil)

// New returns a Fetcher that calls next. fallbacks maps the name of a vault to that of its fallback, and can be nil;
// callTimeout is the time limit of one Fetch.
func New(next keyvault.Fetcher, fallbacks map[string]string, callTimeout time.Duration) *Fetcher {
	return &Fetcher{next: next, fallbacks: fallbacks, callTimeout: callTimeout}
}

// Fetch implements keyvault.Fetcher. A list has no fallback, because it describes one vault.
func (f *Fetcher) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	second := ref
	second.Vault = f.fallbacks[ref.Vault]
	if second.Vault == "" || ref.Kind.ItemKind() != "" {
		return f.next.Fetch(ctx, ref)
	}
	first, cancel := context.WithTimeout(ctx, f.callTimeout*3/5) // leaves time for the fallback
	object, err := f.next.Fetch(first, ref)
	cancel()
	if fault.KindOf(err) != fault.Unavailable {
		return object, err
	}
	object, fallbackErr := f.next.Fetch(ctx, second)
	if fallbackErr != nil {
		return keyvault.Object{}, err // the error of the vault itself, not of its fallback
	}
	object.Ref, object.FallbackVault = ref, second.Vault
	return object, nil
}
