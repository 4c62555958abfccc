package azure

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// otherTypeTTL is how long the type of a missing object is cached, also if no other type was found.
const otherTypeTTL = 10 * time.Minute

// otherTypeCache caches the types under which missing objects were found, so that not every read searches for them.
type otherTypeCache struct {
	mu    sync.Mutex
	found map[keyvault.Ref]cachedOtherType
}

type cachedOtherType struct {
	kind      keyvault.Kind
	checkedAt time.Time
}

func (o *otherTypeCache) get(ref keyvault.Ref, now time.Time) (kind keyvault.Kind, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.found[ref]
	return found.kind, ok && now.Sub(found.checkedAt) < otherTypeTTL
}

func (o *otherTypeCache) put(ref keyvault.Ref, found cachedOtherType) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.found) >= limits.OtherTypeLookups || o.found == nil {
		o.found = map[keyvault.Ref]cachedOtherType{}
	}
	o.found[ref] = found
}

// isObjectNotFound reports whether err is the vault's own response that the object does not exist.
func isObjectNotFound(err error) bool {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode != http.StatusNotFound || response.RawResponse == nil {
		return false
	}
	_, ok := parseVaultError(response.RawResponse)
	return ok
}

// classifyNotFound returns the error of a missing object. The error names another type that has an object of this name,
// if the identity is allowed to list it.
func (v *Fetcher) classifyNotFound(ctx context.Context, ref keyvault.Ref, err error) error {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || ref.Kind.ListKind() == "" {
		return v.classifyError(ctx, err, ref, nil)
	}
	plain := keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind, Name: ref.Name, Identity: ref.Identity}
	other, known := v.otherTypes.get(plain, v.config.Clock())
	if !known {
		other = v.findOtherType(ctx, plain)
		if ctx.Err() == nil {
			v.otherTypes.put(plain, cachedOtherType{other, v.config.Clock()})
		}
	}
	if other == "" {
		return v.classifyError(ctx, err, ref, nil)
	}
	facts := v.messageFacts(ref)
	facts["other"] = string(other)
	e := diagnosis.Explain(diagnosis.Vault, http.StatusNotFound, diagnosis.OtherType, facts)
	e.Operation = "reading " + ref.String()
	return e
}

// findOtherType returns the type that has an object of the name; empty if there is none or the identity can't list it.
func (v *Fetcher) findOtherType(ctx context.Context, ref keyvault.Ref) keyvault.Kind {
	for _, kind := range keyvault.ItemKinds() {
		if kind == ref.Kind {
			continue
		}
		other := ref
		other.Kind = kind
		there := false
		_ = v.withClient(ctx, other, func(ctx context.Context, c *cachedClient) (err error) {
			there, err = c.hasVersions(ctx, ref.Name)
			return err
		})
		if there {
			return kind
		}
	}
	return ""
}

// hasAnyVersion reports whether the first page of a list has an item.
func hasAnyVersion[T any](ctx context.Context, pager *runtime.Pager[T], count func(T) int) (bool, error) {
	answer, err := pager.NextPage(ctx)
	return err == nil && count(answer) > 0, err
}
