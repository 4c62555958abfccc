package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// authorise allows what the live pod's own spec refers to. The spec can't be changed after creation, so a running program can't
// widen what it gets.
func (b *Broker) authorise(ctx context.Context, who caller, asked map[string]string) error {
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := b.Live.Get(ctx, types.NamespacedName{Name: who.Namespace}, namespace); err != nil {
		return unread(err, "namespace", who.Namespace)
	}
	if namespace.Labels[b.Label] != b.LabelValue {
		return fault.New(fault.Denied, "injection is not enabled in namespace %q; label it %s=%s", who.Namespace, b.Label, b.LabelValue)
	}
	var pod corev1.Pod
	if err := b.Live.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.Pod}, &pod); err != nil {
		return unread(err, "pod", who.Pod)
	}
	if pod.UID != who.UID || pod.Spec.ServiceAccountName != who.ServiceAccount {
		return fault.New(fault.Unauthenticated, "the token is of another pod of the name %q", who.Pod)
	}
	allowed := referred(&pod)
	for _, variable := range slices.Sorted(maps.Keys(asked)) {
		if !allowed[asked[variable]] {
			return fault.New(fault.Denied, "variable %s: the reference is not in the env of pod %q; values that come by envFrom or valueFrom "+
				"are not supported by this version, so write the reference into env and recreate the pod", variable, who.Pod)
		}
	}
	return nil
}

// referred are all literal values of the pod's env. That they are references is checked when they are resolved.
func referred(pod *corev1.Pod) map[string]bool {
	values := map[string]bool{}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, variable := range container.Env {
			if variable.ValueFrom == nil {
				values[variable.Value] = true
			}
		}
	}
	return values
}

func unread(err error, kind, name string) error {
	if apierrors.IsNotFound(err) {
		return fault.New(fault.Unauthenticated, "%s %q is gone", kind, name)
	}
	if apierrors.IsForbidden(err) {
		return fault.New(fault.Denied, "the env-injector may not read %s %q; set watchAllNamespaces, or repair its roles by helm upgrade", kind, name)
	}
	return fault.Wrap(fault.Unavailable, err, fmt.Sprintf("asking the API server for %s %q", kind, name))
}
