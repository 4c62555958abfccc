package webhook

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// requireInjectionEnabled rejects pods of namespaces without the injection label before anything is read in the
// namespace. The API server sends no review for such a pod, but any client that reaches the port can, and an answer
// would disclose which Secrets and keys exist.
func (a *podAdmission) requireInjectionEnabled(ctx context.Context) error {
	name := a.request.Namespace
	enabled, known := a.namespaceCache.get(name)
	if !known || (!enabled && a.trusted) {
		namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
		err := a.APIReader.Get(ctx, types.NamespacedName{Name: name}, namespace)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fault.New(fault.Unavailable,
				"the namespace of the pod could not be read from the API server; try again")
		}
		enabled = err == nil && namespace.Labels[a.NamespaceLabel] == a.NamespaceLabelValue
		age := limits.NamespaceDisabledAge
		if enabled {
			age = limits.NamespaceEnabledAge
		}
		a.namespaceCache.put(name, enabled, age)
	}
	if !enabled {
		return fault.New(fault.Denied, "injection is not enabled in namespace %q; label it %s=%s", name,
			a.NamespaceLabel,
			a.NamespaceLabelValue)
	}
	return nil
}

// readLimitRanges are the LimitRange items for containers and pods in the pod's namespace. They are empty if they
// cannot be read; the API server then rejects an init container that does not fit.
func (a *podAdmission) readLimitRanges(ctx context.Context) []corev1.LimitRangeItem {
	if items, known := a.limitRangeCache.get(a.request.Namespace); known {
		return items
	}
	var list corev1.LimitRangeList
	if err := a.APIReader.List(ctx, &list, client.InNamespace(a.request.Namespace),
		client.Limit(limits.LimitRanges)); err != nil {
		a.loggerFor(a.trusted).Info("cannot read LimitRanges, so the init container may not fit them",
			logkey.Namespace, a.request.Namespace, logkey.Error, err.Error())
	}
	var items []corev1.LimitRangeItem
	for _, object := range list.Items {
		for _, item := range object.Spec.Limits {
			isForPods := item.Type == corev1.LimitTypeContainer || item.Type == corev1.LimitTypePod
			if isForPods && len(items) < limits.LimitRanges {
				items = append(items, item)
			}
		}
	}
	a.limitRangeCache.put(a.request.Namespace, items, limits.LimitRangeAge)
	return items
}

// ttlCache is a bounded cache of answers of the API server, with a lifetime for each entry. It is safe for concurrent
// use.
type ttlCache[K comparable, V any] struct {
	clock   func() time.Time
	mu      sync.Mutex
	entries map[K]cacheEntry[V]
}

// cacheEntry is an entry of the cache, with the end of its lifetime.
type cacheEntry[V any] struct {
	value   V
	expires time.Time
}

func newTTLCache[K comparable, V any](clock func() time.Time) *ttlCache[K, V] {
	return &ttlCache[K, V]{clock: clock, entries: map[K]cacheEntry[V]{}}
}

// get returns the value of a key; known is false if there is no entry or its lifetime is over.
func (r *ttlCache[K, V]) get(key K) (value V, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry, ok := r.entries[key]
	if !ok || !r.clock().Before(entry.expires) {
		return value, false
	}
	return entry.value, true
}

// put stores a value for the given lifetime. A full cache is cleared: the answers can be read again at low cost.
func (r *ttlCache[K, V]) put(key K, value V, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) >= limits.AdmissionCacheEntries {
		clear(r.entries)
	}
	r.entries[key] = cacheEntry[V]{value, r.clock().Add(age)}
}
