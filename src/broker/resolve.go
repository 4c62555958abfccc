package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/fromapi"
	"github.com/akv2k8s/akv2k8s/src/resolver"
)

// source reads what the references of one namespace name.
type source struct {
	*Broker
	namespace string
	// stale is the first object, if any, that was answered from memory.
	stale atomic.Pointer[string]
}

var (
	_ resolver.Source  = (*source)(nil)
	_ resolver.Decoder = (*source)(nil)
)

// Decoding implements resolver.Decoder: no namespace keeps another from its values.
func (s *source) Decoding() decodepool.Share { return s.Config.Decoding.For(s.namespace) }

// tellStale lets the pod's owner know that a value may be old.
func (b *Broker) tellStale(who caller, from *source) {
	object := from.stale.Load()
	if object == nil || b.Events == nil {
		return
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: who.Namespace, Name: who.Pod, UID: who.UID}}
	b.Events.Eventf(pod, nil, corev1.EventTypeWarning, "StaleValue", "Resolve", "%s could not be read, and the last value known was given, which is at most %s old", *object, b.StaleAge)
}

// Object implements resolver.Source. While the vault can't be asked, the last good answer serves, so that pods still start.
func (s *source) Object(ctx context.Context, r recipe.Recipe, ref keyvault.Ref) (keyvault.Object, error) {
	if err := s.Rules.Check(s.namespace, r.Vault); err != nil {
		return keyvault.Object{}, err
	}
	ref.As = s.Identities.Of(s.namespace, r.Identity)
	object, err := s.Vault.Read(keyvault.For(ctx, keyvault.Purpose{Namespace: s.namespace, Priority: keyvault.PodStart}), ref, s.MaxAge)
	if err == nil || !fault.KindOf(err).Transient() {
		return object, err
	}
	if last, ok := s.Vault.Last(ref, s.StaleAge); ok {
		s.Metrics.stale.Inc()
		name := ref.String()
		s.stale.CompareAndSwap(nil, &name)
		s.Log.Info("answering with the last value known", "object", ref.String(), "error", err.Error())
		return last, nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return object, fault.New(fault.Unavailable, "reading %s took longer than %s", ref, Patience)
	}
	return object, err
}

// Recipe implements resolver.Source. A resource that the cache does not have may have been created a moment ago.
func (s *source) Recipe(ctx context.Context, resource string) (recipe.Recipe, error) {
	name := types.NamespacedName{Namespace: s.namespace, Name: resource}
	var object v2beta1.AzureKeyVaultSecret
	err := s.Cached.Get(ctx, name, &object)
	if apierrors.IsNotFound(err) {
		err = s.Live.Get(ctx, name, &object)
	}
	if apierrors.IsNotFound(err) {
		return recipe.Recipe{}, &fault.Error{Kind: fault.NotFound, MayComeLater: true, Next: "create it, or correct the name",
			Doing: fmt.Sprintf("there is no AzureKeyVaultSecret %q in namespace %q", name.Name, name.Namespace)}
	}
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for AzureKeyVaultSecret %q", name.Name))
	}
	content, err := json.Marshal(&object)
	if err != nil {
		return recipe.Recipe{}, fault.Wrap(fault.Bug, err, "marshalling an AzureKeyVaultSecret")
	}
	return fromapi.Parse(content)
}
