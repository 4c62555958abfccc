package rollout

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// rolloutKind is the kind of Argo Rollouts. Its objects are read without its Go types, of which few fields are needed.
func rolloutKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: recipe.Rollout}
}

func newRollout() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(rolloutKind())
	return object
}

// rolloutWorkload returns a Rollout as a workload. Its pod template can be that of a Deployment, which deployments has
// by name. A template that can't be parsed counts as empty.
func rolloutWorkload(object *unstructured.Unstructured, deployments map[string]*corev1.PodTemplateSpec) workload {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(object.Object, path...)
		return value
	}
	paused, _, _ := unstructured.NestedBool(object.Object, "spec", "paused")
	phase, restartAt := text("status", "phase"), text("spec", "restartAt")
	w := workload{Object: object, kind: recipe.Rollout, template: &corev1.PodTemplateSpec{},
		paused:       paused || phase == "Paused",
		finished:     (phase == "Healthy" || phase == "Degraded") && text("status", "restartedAt") == restartAt,
		ownRestartAt: parseTime(restartAt), restartedAt: parseTime(restartAt), restartPatch: rolloutRestartPatch}
	if template, ok, _ := unstructured.NestedMap(object.Object, "spec", "template"); ok {
		var parsed corev1.PodTemplateSpec
		if runtime.DefaultUnstructuredConverter.FromUnstructured(template, &parsed) == nil {
			w.template = &parsed
		}
	} else if text("spec", "workloadRef", "kind") == recipe.Deployment {
		if shared := deployments[text("spec", "workloadRef", "name")]; shared != nil {
			w.template = shared
		}
	}
	return w
}

// rolloutRestartPatch sets the time at which Argo replaces older pods, as kubectl argo rollouts restart does: pods are
// replaced without another canary. The time has seconds only, so it is rounded up; otherwise it could be before the
// change.
func rolloutRestartPatch(at time.Time) map[string]any {
	whole := at.Truncate(time.Second)
	if whole.Before(at) {
		whole = whole.Add(time.Second)
	}
	return map[string]any{"spec": map[string]any{"restartAt": whole.Format(time.RFC3339)}}
}
