package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// source reads what the references of one namespace name.
type source struct {
	*Broker
	namespace string
	// maxAge is how old an object may be.
	maxAge time.Duration
	// stale is the first object, if any, that was answered from memory, and staleCount how many there are.
	stale      atomic.Pointer[staleAnswer]
	staleCount atomic.Int32
}

// staleAnswer is an object that was answered from memory, and the error of reading it.
type staleAnswer struct{ object, cause string }

var (
	_ resolver.Source  = (*source)(nil)
	_ resolver.Decoder = (*source)(nil)
)

// Decoding implements resolver.Decoder: no namespace keeps another from its values.
func (s *source) Decoding() decodepool.Share { return s.Config.Decoding.For(s.namespace) }

// Object implements resolver.Source. While the vault can't be asked, the last good answer serves, so that pods still
// start.
func (s *source) Object(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if err := s.Rules.Check(s.namespace, r.Vault); err != nil {
		return keyvault.Object{}, err
	}
	ref.As = s.Identities.Of(s.namespace, r.Identity)
	object, err := s.Vault.Read(keyvault.For(ctx,
		keyvault.Purpose{Namespace: s.namespace, Priority: keyvault.PodStart}), ref, s.maxAge)
	if err == nil || !fault.KindOf(err).Transient() {
		return object, err
	}
	if last, ok := s.Vault.Last(ref, s.StaleAge); ok {
		s.Metrics.stale.Inc()
		s.staleCount.Add(1)
		s.stale.CompareAndSwap(nil, &staleAnswer{ref.String(), err.Error()})
		return last, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return object, fault.New(fault.Unavailable, "reading %s took longer than %s", ref, Patience)
	}
	return object, err
}

// Recipe implements resolver.Source.
func (s *source) Recipe(ctx context.Context, resource string) (recipe.Recipe, error) {
	name := types.NamespacedName{Namespace: s.namespace, Name: resource}
	object, err := s.readResource(ctx, name)
	if apierrors.IsNotFound(err) {
		return recipe.Recipe{}, &fault.Error{Kind: fault.NotFound, MayComeLater: true,
			Next:  "create it, or correct the name",
			Doing: fmt.Sprintf("there is no AzureKeyVaultSecret %q in namespace %q", name.Name, name.Namespace)}
	}
	if err != nil {
		return recipe.Recipe{}, err
	}
	content, err := json.Marshal(object)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	return fromapi.Parse(content)
}

// readResource reads an AzureKeyVaultSecret. One that the cache does not have may have been created a moment ago, so
// the API server is asked, once in a while.
func (s *source) readResource(ctx context.Context, name types.NamespacedName) (*v2beta1.AzureKeyVaultSecret, error) {
	var object v2beta1.AzureKeyVaultSecret
	err := s.Cached.Get(ctx, name, &object)
	if apierrors.IsNotFound(err) {
		if s.absences.has(name) {
			return nil, err
		}
		if !s.shares.resourceReads.Allow(s.namespace) {
			return nil, tooMany("the pods of namespace %q ask for too many AzureKeyVaultSecrets that do not exist "+
				"(its share of %s)", s.namespace,
				limits.Rate(limits.AuthResourceReadsPerSecond))
		}
		if err = s.Live.Get(ctx, name, &object); apierrors.IsNotFound(err) {
			s.absences.add(name)
			return nil, err
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err,
			fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name.Name))
	}
	return &object, nil
}
