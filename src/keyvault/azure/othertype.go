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

// lookedFor is how long the type of a missing object is cached, also if no other type was found.
const lookedFor = 10 * time.Minute

// otherTypes caches the types under which missing objects were found, so that not every read searches for them.
type otherTypes struct {
	mu    sync.Mutex
	known map[keyvault.Ref]otherType
}

type otherType struct {
	kind keyvault.Kind
	at   time.Time
}

func (o *otherTypes) recall(ref keyvault.Ref, now time.Time) (kind keyvault.Kind, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.known[ref]
	return found.kind, ok && now.Sub(found.at) < lookedFor
}

func (o *otherTypes) remember(ref keyvault.Ref, found otherType) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= limits.OtherTypes || o.known == nil {
		o.known = map[keyvault.Ref]otherType{}
	}
	o.known[ref] = found
}

// isMissing reports whether err is the vault's own response that the object does not exist.
func isMissing(err error) bool {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode != http.StatusNotFound || response.RawResponse == nil {
		return false
	}
	_, ok := parseError(response.RawResponse)
	return ok
}

// missing returns the error of a missing object. The error names another type that has an object of this name, if the
// identity is allowed to list it.
func (v *Vaults) missing(ctx context.Context, ref keyvault.Ref, err error) error {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || ref.Kind.List() == "" {
		return v.classify(ctx, err, ref, nil)
	}
	plain := keyvault.Ref{Vault: ref.Vault, Kind: ref.Kind, Name: ref.Name, As: ref.As}
	other, known := v.others.recall(plain, v.config.Clock())
	if !known {
		other = v.otherType(ctx, plain)
		if ctx.Err() == nil {
			v.others.remember(plain, otherType{other, v.config.Clock()})
		}
	}
	if other == "" {
		return v.classify(ctx, err, ref, nil)
	}
	facts := v.facts(ref)
	facts["other"] = string(other)
	e := diagnosis.Explain(diagnosis.Vault, http.StatusNotFound, diagnosis.OtherType, facts)
	e.Doing = "reading " + ref.String()
	return e
}

// otherType returns the type that has an object of the name; empty if there is none or the identity can't list it.
func (v *Vaults) otherType(ctx context.Context, ref keyvault.Ref) keyvault.Kind {
	// A certificate has a secret and a key of the same name, so it is checked first.
	for _, kind := range []keyvault.Kind{keyvault.KindCertificate, keyvault.KindSecret, keyvault.KindKey} {
		if kind == ref.Kind {
			continue
		}
		other := ref
		other.Kind = kind
		there := false
		_ = v.with(ctx, other, func(ctx context.Context, c *client) (err error) {
			there, err = c.exists(ctx, ref.Name)
			return err
		})
		if there {
			return kind
		}
	}
	return ""
}

// firstPage reports whether the first page of a list has an item.
func firstPage[T any](ctx context.Context, pager *runtime.Pager[T], count func(T) int) (bool, error) {
	answer, err := pager.NextPage(ctx)
	return err == nil && count(answer) > 0, err
}
