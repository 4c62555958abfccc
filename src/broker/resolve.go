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
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// resourceSource reads the AzureKeyVaultSecrets and vault objects that the references of one namespace name.
type resourceSource struct {
	*Broker
	namespace string
	// maxAge is the maximum age of an object while the vault is available.
	maxAge time.Duration
	// refresh is set if a pod asks whether its files have changed.
	refresh *wire.PodFiles
	// lastChange is the last time at which the controller found another value for one of the resources, in
	// nanoseconds since 1970.
	lastChange atomic.Int64
	// firstStale is the first object that was served stale, nil if none was. staleCount is their number.
	firstStale atomic.Pointer[staleObject]
	staleCount atomic.Int32
}

// staleObject is an object that was served stale, and the error of reading it from the vault.
type staleObject struct{ name, cause string }

var (
	_ resolver.Source            = (*resourceSource)(nil)
	_ resolver.DecodeShareSource = (*resourceSource)(nil)
)

// DecodeShare implements resolver.Decoder. Each namespace has its own share of the decoding workers.
func (s *resourceSource) DecodeShare() decodepool.NamespacePool {
	return s.DecodePool.ForNamespace(s.namespace)
}

// ReadObject implements resolver.Source. While the vault is unavailable, it returns the last successfully read object,
// so that pods can still start.
func (s *resourceSource) ReadObject(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if err := s.Rules.CheckAccess(s.namespace, r.Vault); err != nil {
		return keyvault.Object{}, err
	}
	ref.Identity = s.Identities.IdentityFor(s.namespace, r.Identity)
	object, err := s.Vault.Read(keyvault.WithPurpose(ctx,
		keyvault.Purpose{Namespace: s.namespace, Priority: s.priority()}), ref, s.maxAgeFor(r))
	if err == nil || !fault.KindOf(err).IsTransient() {
		return object, err
	}
	if last, ok := s.Vault.LastGood(ref, s.MaxStaleAge); ok {
		s.Metrics.staleValues.Inc()
		s.staleCount.Add(1)
		s.firstStale.CompareAndSwap(nil, &staleObject{ref.String(), err.Error()})
		return last, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return object, fault.New(fault.Unavailable, "reading %s took longer than %s", ref, RequestTimeout)
	}
	return object, err
}

// ReadResource implements resolver.Source.
func (s *resourceSource) ReadResource(ctx context.Context, resource string) (recipe.Recipe, error) {
	name := types.NamespacedName{Namespace: s.namespace, Name: resource}
	object, err := s.readAzureKeyVaultSecret(ctx, name)
	if apierrors.IsNotFound(err) {
		return recipe.Recipe{}, &fault.Error{Kind: fault.NotFound, CanAppearLater: true,
			Next:      "create it, or correct the name",
			Operation: fmt.Sprintf("there is no AzureKeyVaultSecret %q in namespace %q", name.Name, name.Namespace)}
	}
	if err != nil {
		return recipe.Recipe{}, err
	}
	s.noteChange(object.Status.LastAzureUpdate)
	content, err := json.Marshal(object)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	return fromapi.Parse(content)
}

// readAzureKeyVaultSecret reads an AzureKeyVaultSecret. The cache can lack a resource that was created a moment ago, so
// it then reads from the API server, at a limited rate.
func (s *resourceSource) readAzureKeyVaultSecret(ctx context.Context,
	name types.NamespacedName) (*v2beta1.AzureKeyVaultSecret, error) {
	var object v2beta1.AzureKeyVaultSecret
	err := s.Cached.Get(ctx, name, &object)
	if apierrors.IsNotFound(err) {
		if s.missingResources.has(name) {
			return nil, err
		}
		if !s.limiters.resourceReadRate.Allow(s.namespace) {
			return nil, throttledError("pods in namespace %q request too many AzureKeyVaultSecrets that do not exist "+
				"(its share of %s)", s.namespace,
				limits.Rate(limits.AuthResourceReadsPerSecond))
		}
		if err = s.Live.Get(ctx, name, &object); apierrors.IsNotFound(err) {
			s.missingResources.add(name)
			return nil, err
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err,
			fmt.Sprintf("reading AzureKeyVaultSecret %q from the API server", name.Name))
	}
	return &object, nil
}
