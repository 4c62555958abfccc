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

// readCallerPod reads the caller's pod from the API server. It returns an error if injection is not enabled in its
// namespace.
func (c *podRequest) readCallerPod(ctx context.Context) (*corev1.Pod, error) {
	var pod *corev1.Pod
	var disabled, missing error
	var group sync.WaitGroup // concurrently, because the pod's start waits for both reads
	group.Go(func() { disabled = c.requireNamespaceEnabled(ctx, c.caller.Namespace) })
	group.Go(func() { pod, missing = c.readLivePod(ctx, c.caller) })
	group.Wait()
	return pod, cmp.Or(disabled, missing)
}

// authorizeReferences allows the references that the live pod's own spec holds. The environment in a spec cannot change
// after creation, so a running program cannot extend its access.
func (c *podRequest) authorizeReferences(allowed allowedReferences, asked map[string]string) error {
	for _, variable := range slices.Sorted(maps.Keys(asked)) {
		switch {
		case allowed.values[asked[variable]]:
		case allowed.allowUnrecorded:
			c.Metrics.unrecordedReferences.Inc()
			c.unrecordedVariables = append(c.unrecordedVariables, variable)
		default:
			return &fault.Error{Kind: fault.Denied,
				Operation: fmt.Sprintf("variable %s: pod %q was not created with this reference",
					truncateText(variable, limits.NameBytesInMessages), c.caller.Pod),
				Next: "if the reference is in a ConfigMap or Secret that changed after the pod was created, recreate " +
					"the pod; if the env-injector cannot read that source (env_injector.sourceNamespaces), or if the " +
					"reference is in the image's environment and the container has a command, write it into env"}
		}
	}
	return nil
}

// requireNamespaceEnabled returns fault.Denied if the namespace does not have the label that enables injection.
func (b *Broker) requireNamespaceEnabled(ctx context.Context, name string) error {
	namespace := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := b.Live.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return readError(err, "namespace", name)
	}
	if namespace.Labels[b.NamespaceLabel] != b.NamespaceLabelValue {
		return fault.New(fault.Denied, "injection is not enabled in namespace %q; label it %s=%s", name,
			b.NamespaceLabel,
			b.NamespaceLabelValue)
	}
	return nil
}

// readLivePod reads the caller's pod from the API server. It must be the pod that the token is bound to, and it must
// not have ended.
func (b *Broker) readLivePod(ctx context.Context, who caller) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := b.Live.Get(ctx, types.NamespacedName{Namespace: who.Namespace, Name: who.Pod}, &pod); err != nil {
		return nil, readError(err, "pod", who.Pod)
	}
	if pod.UID != who.UID || pod.Spec.ServiceAccountName != who.ServiceAccount {
		return nil, fault.New(fault.Unauthenticated, "the token belongs to another pod named %q", who.Pod)
	}
	if hasEnded(&pod, b.Clock()) {
		return nil, fault.New(fault.Unauthenticated, "pod %q has ended; its containers cannot start again", who.Pod)
	}
	return &pod, nil
}

// clockSkew is the tolerated lead of our clock over the API server's.
const clockSkew = 10 * time.Second

// hasEnded reports whether no container of the pod can start again, although the API server still has the pod. A
// deletion timestamp is the end of the pod's grace period, not the time of the delete request.
func hasEnded(pod *corev1.Pod, now time.Time) bool {
	deleted := pod.DeletionTimestamp
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed ||
		(deleted != nil && now.After(deleted.Add(clockSkew)))
}

// allowedReferences are the references that a pod can request.
type allowedReferences struct {
	// values are all literal values of the pod's env, and the references that admission recorded from its ConfigMaps
	// and Secrets. The resolver checks that they are references.
	values map[string]bool
	// allowUnrecorded reports that a ConfigMap or Secret did not exist when the pod was created, so any reference is
	// allowed.
	allowUnrecorded bool
	// variableCount is the maximum number of variables that one request needs.
	variableCount int
	// byteSize is the approximate memory use of values.
	byteSize int
}

// valueOverheadBytes is the approximate memory use of a value besides its text, in bytes.
const valueOverheadBytes = 64

// allowedReferencesOf collects the references from the spec of a pod.
func allowedReferencesOf(pod *corev1.Pod) allowedReferences {
	r := allowedReferences{values: map[string]bool{}}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		r.addEnv(container.Env)
	}
	for _, container := range pod.Spec.EphemeralContainers {
		r.addEnv(container.Env)
	}
	if r.allowUnrecorded {
		r.variableCount = limits.VariablesPerRequest
	}
	return r
}

func (r *allowedReferences) addEnv(env []corev1.EnvVar) {
	for _, variable := range env {
		var record map[string]string
		switch {
		case variable.ValueFrom != nil:
		case isAdmissionRecord(variable.Name) && json.Unmarshal([]byte(variable.Value), &record) == nil:
			for _, reference := range record {
				r.allowValue(reference)
			}
		case variable.Name == wire.EnvAllowUnrecorded:
			r.allowUnrecorded = r.allowUnrecorded || variable.Value == "true"
		default:
			r.allowValue(variable.Value)
		}
	}
}

// allowValue counts a variable and allows its value.
func (r *allowedReferences) allowValue(value string) {
	r.variableCount++
	if !r.values[value] {
		r.values[value] = true
		r.byteSize += len(value) + valueOverheadBytes
	}
}

// isAdmissionRecord reports whether a variable holds the references that admission recorded.
func isAdmissionRecord(name string) bool {
	return name == wire.EnvReferences || name == wire.EnvImageReferences
}

// readError classifies an error of reading a namespace or a pod.
func readError(err error, kind, name string) error {
	if apierrors.IsNotFound(err) {
		return fault.New(fault.Unauthenticated, "%s %q no longer exists", kind, name)
	}
	if apierrors.IsForbidden(err) {
		return fault.New(fault.Denied,
			"the env-injector is not allowed to read %s %q; set watchAllNamespaces, or restore its roles with "+
				"helm upgrade", kind, name)
	}
	return fault.Wrap(fault.Unavailable, err, fmt.Sprintf("reading %s %q from the API server", kind, name))
}
