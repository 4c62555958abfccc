package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// readPod gives the caller's pod as the API server has it now, unless its namespace is not enabled.
func (c *call) readPod(ctx context.Context) (*corev1.Pod, error) {
	var pod *corev1.Pod
	var disabled, missing error
	var group sync.WaitGroup // a pod waits for both
	group.Go(func() { disabled = c.enabled(ctx, c.who.Namespace) })
	group.Go(func() { pod, missing = c.alive(ctx, c.who) })
	group.Wait()
	return pod, cmp.Or(disabled, missing)
}

// authorise allows what the live pod's own spec refers to. The spec can't be changed after creation, so a running
// program can't widen what it gets.
func (c *call) authorise(allowed references, asked map[string]string) error {
	for _, variable := range slices.Sorted(maps.Keys(asked)) {
		switch {
		case allowed.values[asked[variable]]:
		case allowed.open:
			c.Metrics.open.Inc()
			c.unrecorded = append(c.unrecorded, variable)
		default:
			return &fault.Error{Kind: fault.Denied,
				Doing: fmt.Sprintf("variable %s: pod %q was not created with this reference",
					shorten(variable, limits.NameBytesInMessages), c.who.Pod),
				Next: "if it is in a ConfigMap or Secret that was changed since, recreate the pod; if the " +
					"env-injector may not read it (env_injector.sourceNamespaces), or it is the image's own and the " +
					"container has a command, write the reference into env"}
		}
	}
	return nil
}

// enabled refuses namespaces without the label.
func (b *Broker) enabled(ctx context.Context, name string) error {
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := b.Live.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return unread(err, "namespace", name)
	}
	if namespace.Labels[b.Label] != b.LabelValue {
		return fault.New(fault.Denied, "injection is not enabled in namespace %q; label it %s=%s", name, b.Label,
			b.LabelValue)
	}
	return nil
}

// alive is the caller's pod as the API server has it now; it must be the one that the token is bound to, and must not
// have ended.
func (b *Broker) alive(ctx context.Context, who caller) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := b.Live.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.Pod}, &pod); err != nil {
		return nil, unread(err, "pod", who.Pod)
	}
	if pod.UID != who.UID || pod.Spec.ServiceAccountName != who.ServiceAccount {
		return nil, fault.New(fault.Unauthenticated, "the token is of another pod of the name %q", who.Pod)
	}
	if hasEnded(&pod, b.Clock()) {
		return nil, fault.New(fault.Unauthenticated, "pod %q has ended, and no program starts in it any more", who.Pod)
	}
	return &pod, nil
}

// clockSkew is how far our clock may be ahead of the API server's.
const clockSkew = 10 * time.Second

// hasEnded says whether no program of the pod can start any more, although the API server still has the pod. A deletion
// timestamp is the time at which the pod's grace period is over, not the time of the request to delete it.
func hasEnded(pod *corev1.Pod, now time.Time) bool {
	deleted := pod.DeletionTimestamp
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed ||
		(deleted != nil && now.After(deleted.Add(clockSkew)))
}

// references are what a pod may ask for.
type references struct {
	// values are all literal values of the pod's env, and what admission recorded of its ConfigMaps and Secrets. That
	// they are references is checked when they are resolved.
	values map[string]bool
	// open says that a source was missing when the pod was created, so that any reference is allowed.
	open bool
	// variables is the most that one request can need.
	variables int
	// bytes is about what these values take.
	bytes int
}

// valueOverhead is about what a value takes besides its text.
const valueOverhead = 64

// referencesOf reads the spec of a pod.
func referencesOf(pod *corev1.Pod) references {
	r := references{values: map[string]bool{}}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		r.add(container.Env)
	}
	for _, container := range pod.Spec.EphemeralContainers {
		r.add(container.Env)
	}
	if r.open {
		r.variables = limits.VariablesPerRequest
	}
	return r
}

func (r *references) add(env []corev1.EnvVar) {
	for _, variable := range env {
		var record map[string]string
		switch {
		case variable.ValueFrom != nil:
		case isRecord(variable.Name) && json.Unmarshal([]byte(variable.Value), &record) == nil:
			for _, reference := range record {
				r.allow(reference)
			}
		case variable.Name == wire.EnvOpen:
			r.open = r.open || variable.Value == "true"
		default:
			r.allow(variable.Value)
		}
	}
}

// allow counts a variable, and allows its value.
func (r *references) allow(value string) {
	r.variables++
	if !r.values[value] {
		r.values[value] = true
		r.bytes += len(value) + valueOverhead
	}
}

// isRecord says whether a variable is a record of admission.
func isRecord(name string) bool { return name == wire.EnvReferences || name == wire.EnvImageReferences }

func unread(err error, kind, name string) error {
	if apierrors.IsNotFound(err) {
		return fault.New(fault.Unauthenticated, "%s %q is gone", kind, name)
	}
	if apierrors.IsForbidden(err) {
		return fault.New(fault.Denied,
			"the env-injector may not read %s %q; set watchAllNamespaces, or repair its roles by helm upgrade", kind,
			name)
	}
	return fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for %s %q", kind, name))
}
