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

// lookedFor is how long it is believed that a missing object is, or is not, there as another type.
const lookedFor = 10 * time.Minute

// otherTypes remembers as what type a missing object was found, so that it is not looked for at each read.
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

// isMissing says whether the vault itself said that there is no such object.
func isMissing(err error) bool {
	var response *azcore.ResponseError
	if !errors.As(err, &response) || response.StatusCode != http.StatusNotFound || response.RawResponse == nil {
		return false
	}
	_, ok := parseError(response.RawResponse)
	return ok
}

// missing explains that an object is not there, and names the type that is there by its name, if the identity may list
// it.
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

// otherType is the type that has an object of the name; empty if none has, or if it can't be known.
func (v *Vaults) otherType(ctx context.Context, ref keyvault.Ref) keyvault.Kind {
	// A certificate has a secret and a key of its own name, so it is the better answer.
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

// firstPage says whether a list of versions has any.
func firstPage[T any](ctx context.Context, pager *runtime.Pager[T], count func(T) int) (bool, error) {
	answer, err := pager.NextPage(ctx)
	return err == nil && count(answer) > 0, err
}
