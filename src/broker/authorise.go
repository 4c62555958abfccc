package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// authorise allows what the live pod's own spec refers to. The spec can't be changed after creation, so a running program can't
// widen what it gets.
func (b *Broker) authorise(ctx context.Context, who caller, asked map[string]string) error {
	var pod *corev1.Pod
	var disabled, missing error
	var group sync.WaitGroup // a pod waits for both
	group.Go(func() { disabled = b.enabled(ctx, who.Namespace) })
	group.Go(func() { pod, missing = b.alive(ctx, who) })
	group.Wait()
	if err := cmp.Or(disabled, missing); err != nil {
		return err
	}
	allowed, open := referred(pod)
	for _, variable := range slices.Sorted(maps.Keys(asked)) {
		switch {
		case allowed[asked[variable]]:
		case open:
			b.Metrics.open.Inc()
			b.Log.Info("answering what admission could not see, because a source was missing then", "namespace", who.Namespace, "pod", who.Pod, "variable", variable)
		default:
			return fault.New(fault.Denied, "variable %s: pod %q was not created with this reference; if it is in a ConfigMap or Secret that was changed since, "+
				"recreate the pod; if the env-injector may not read it (env_injector.sourceNamespaces), or it is the image's own and the container has a command, write the reference into env", variable, who.Pod)
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
		return fault.New(fault.Denied, "injection is not enabled in namespace %q; label it %s=%s", name, b.Label, b.LabelValue)
	}
	return nil
}

// alive is the caller's pod as the API server has it now; it must be the one that the token is bound to.
func (b *Broker) alive(ctx context.Context, who caller) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := b.Live.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.Pod}, &pod); err != nil {
		return nil, unread(err, "pod", who.Pod)
	}
	if pod.UID != who.UID || pod.Spec.ServiceAccountName != who.ServiceAccount {
		return nil, fault.New(fault.Unauthenticated, "the token is of another pod of the name %q", who.Pod)
	}
	return &pod, nil
}

// referred are all literal values of the pod's env, and what admission recorded of its ConfigMaps and Secrets; open says that one was missing
// then, so that any reference is allowed. That they are references is checked when they are resolved.
func referred(pod *corev1.Pod) (values map[string]bool, open bool) {
	values = map[string]bool{}
	env := []corev1.EnvVar{}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		env = append(env, container.Env...)
	}
	for _, container := range pod.Spec.EphemeralContainers {
		env = append(env, container.Env...)
	}
	for _, variable := range env {
		var record map[string]string
		switch {
		case variable.ValueFrom != nil:
		case recorded(variable.Name) && json.Unmarshal([]byte(variable.Value), &record) == nil:
			for _, reference := range record {
				values[reference] = true
			}
		case variable.Name == wire.EnvOpen:
			open = open || variable.Value == "true"
		default:
			values[variable.Value] = true
		}
	}
	return values, open
}

// recorded says whether a variable is a record of admission.
func recorded(name string) bool { return name == wire.EnvReferences || name == wire.EnvImageReferences }

func unread(err error, kind, name string) error {
	if apierrors.IsNotFound(err) {
		return fault.New(fault.Unauthenticated, "%s %q is gone", kind, name)
	}
	if apierrors.IsForbidden(err) {
		return fault.New(fault.Denied, "the env-injector may not read %s %q; set watchAllNamespaces, or repair its roles by helm upgrade", kind, name)
	}
	return fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for %s %q", kind, name))
}
