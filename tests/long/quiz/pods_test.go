//go:build cluster

package quiz

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// podFaults are of references that do not lead to a value, of pods that are not injected, and of workloads whose pods
// the webhook denies.
func podFaults(t *testing.T, q *quiz) []fault {
	h, unlabelled := home{q, "pods"}, home{q, "unlabelled"}
	ctx := t.Context()
	require.NoError(t, h.create(ctx, map[string]string{"json": `{"user": "` + canary + `"}`}))
	require.NoError(t, unlabelled.create(ctx, nil))
	require.NoError(t, q.stage.Azure.Registry(ctx, "akv2k8stest", stage.KubeletObjectID))
	require.NoError(t, q.stage.Azure.Registry(ctx, "akv2k8sothers"))
	require.NoError(t, q.label(ctx, unlabelled.name, "azure-key-vault-env-injection", nil))
	t.Cleanup(func() {
		require.NoError(t, h.remove(context.WithoutCancel(ctx)))
		require.NoError(t, unlabelled.remove(context.WithoutCancel(ctx)))
	})
	require.NoError(t, h.resource(ctx, "db", ""))
	require.NoError(t, unlabelled.resource(ctx, "db", ""))
	require.NoError(t, h.resource(ctx, "json", "{vault: {name: VAULT, object: {name: json, type: multi-key-value-secret, contentType: application/x-json}}, output: {secret: {name: json}}}"))
	require.NoError(t, h.resource(ctx, "broken", anObject("never-there", "secret")))
	require.NoError(t, h.awaitReason(ctx, "db", "Synced"))
	require.NoError(t, h.awaitReason(ctx, "json", "Synced"))
	require.NoError(t, h.awaitReason(ctx, "broken", "ObjectNotFound"))
	faults := h.brokenReferences()
	notInjected := fault{name: "a namespace without the label", says: []string{"lacks the label azure-key-vault-env-injection=enabled"}, next: "kubectl label namespace",
		plant: func(ctx context.Context) error {
			return unlabelled.start(ctx, unlabelled.pod("app", "DB=db@azurekeyvault"))
		},
		commands: [][]string{{"doctor", "-n", unlabelled.name, "pod/app"}}}
	byExplain := notInjected
	byExplain.name, byExplain.says, byExplain.commands = "a namespace without the label, explained", []string{"is not injected", "do not match azure-key-vault-env-injection"},
		[][]string{{"explain", "-n", unlabelled.name, "pod/app"}}
	byExplain.plant = func(context.Context) error { return nil }
	excluded := h.pod("excluded", "DB=db@azurekeyvault")
	excluded.Labels = map[string]string{"akv2k8s.io/inject": "false"}
	faults = append(faults, notInjected, byExplain, fault{name: "a label that excludes a pod", says: []string{"akv2k8s.io/inject"}, next: "remove the label",
		plant:    func(ctx context.Context) error { return h.start(ctx, excluded) },
		commands: [][]string{{"doctor", "-n", h.name, "pod/excluded"}, {"explain", "-n", h.name, "pod/excluded"}}})
	return append(faults, deniedWorkloads(t, q)...)
}

// brokenReferences are pods whose references have no value.
func (h home) brokenReferences() []fault {
	var faults []fault
	for n, name := range slices.Sorted(maps.Keys(references())) {
		r := references()[name]
		pod := h.pod(fmt.Sprintf("reference-%d", n), "ENV_INJECTOR_RETRIES=0", "ENV_INJECTOR_TIMEOUT=0s", "DB="+r.reference)
		f := fault{name: name, says: r.says, next: r.next, also: r.also,
			plant: func(ctx context.Context) error {
				if err := h.start(ctx, pod); err != nil {
					return err
				}
				return h.awaitEnd(ctx, pod.Name)
			},
			commands: [][]string{{"doctor", "-n", h.name, "pod/" + pod.Name}}}
		explained := f
		explained.name, explained.says, explained.plant = name+", explained", r.explained, func(context.Context) error { return nil }
		explained.next, explained.commands = "", [][]string{{"explain", "-n", h.name, "pod/" + pod.Name}}
		faults = append(faults, f, explained)
	}
	return faults
}

// reference is one that has no value.
type reference struct {
	reference string
	says      []string
	next      string
	explained []string
	also      []string
}

func references() map[string]reference {
	failed := []string{"ended with exit code", "failed with exit code"}
	return map[string]reference{
		"a resource that does not exist":           {"nope@azurekeyvault", []string{"nope"}, "create", []string{"nope"}, failed},
		"a part that does not exist":               {"json@azurekeyvault?nope", []string{"nope"}, "", []string{"nope"}, failed},
		"a part of a text":                         {"db@azurekeyvault?nope", []string{"nope"}, "", []string{"nope"}, failed},
		"a resource whose object is missing":       {"broken@azurekeyvault", []string{"never-there"}, "check name, version and type", []string{"never-there"}, failed},
		"a resource of another namespace, by name": {"healthy.db@azurekeyvault", []string{"healthy.db"}, "create", []string{"healthy.db"}, failed},
	}
}

// label sets a label of a namespace; nil removes it.
func (q *quiz) label(ctx context.Context, namespace, name string, value any) error {
	return q.patch(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		map[string]any{"metadata": map[string]any{"labels": map[string]any{name: value}}})
}

// deniedWorkloads are workloads whose pods the webhook denies: only events say so.
func deniedWorkloads(t *testing.T, q *quiz) []fault {
	t.Helper()
	template := func(h home, change func(*corev1.Pod)) corev1.PodTemplateSpec {
		pod := h.pod("app", "DB=db@azurekeyvault")
		change(pod)
		pod.Labels = map[string]string{"app": "app"}
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec}
	}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "app"}}
	always := func(p corev1.PodTemplateSpec) corev1.PodTemplateSpec {
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		return p
	}
	withoutCommand := func(p *corev1.Pod) { p.Spec.Containers[0].Command = nil }
	ofImage := func(image string) func(home) client.Object {
		return func(h home) client.Object {
			return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: appsv1.DeploymentSpec{Selector: selector,
				Template: always(template(h, func(p *corev1.Pod) {
					withoutCommand(p)
					p.Spec.Containers[0].Image = image
				}))}}
		}
	}
	var faults []fault
	for name, c := range map[string]struct {
		create     func(home) client.Object
		says, next string
	}{
		"a Deployment with a malformed reference": {func(h home) client.Object {
			return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: appsv1.DeploymentSpec{Selector: selector,
				Template: always(template(h, env("BAD", "a/b@azurekeyvault")))}}
		}, "variable BAD", "write name@azurekeyvault"},
		"a Deployment of an image that can't be read": {func(h home) client.Object {
			return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: appsv1.DeploymentSpec{Selector: selector,
				Template: always(template(h, withoutCommand))}}
		}, `container "app"`, "set the container's command"},
		"a registry that denies the identity":      {ofImage("akv2k8sothers.azurecr.io/testbox:1"), "401 UNAUTHORIZED", "AcrPull"},
		"an image that the registry does not have": {ofImage("akv2k8stest.azurecr.io/nope:1"), "akv2k8stest.azurecr.io", "set the container's command"},
		"a registry that does not exist":           {ofImage("registry.invalid/app:1"), "the registry registry.invalid", "set the container's command"},
		"a StatefulSet with a reserved variable": {func(h home) client.Object {
			return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: appsv1.StatefulSetSpec{Selector: selector,
				Template: always(template(h, env("ENV_INJECTOR_CA", "x")))}}
		}, "variable ENV_INJECTOR_CA is reserved", "remove it"},
		"a Job with files that hide a directory": {func(h home) client.Object {
			return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](6),
				Template: template(h, annotated("akv2k8s.io/files", "/etc/passwd: db@azurekeyvault"))}}
		}, "would hide the files that the image has there", "choose"},
		"a DaemonSet with an unknown delivery": {func(h home) client.Object {
			return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: h.name, Name: "app"}, Spec: appsv1.DaemonSetSpec{Selector: selector,
				Template: always(template(h, annotated("akv2k8s.io/delivery", "post")))}}
		}, "is not a delivery", "write auto"},
	} {
		h := home{q, fmt.Sprintf("denied-%d", len(faults))}
		faults = append(faults, fault{name: name, says: []string{c.says}, next: c.next, undo: h.remove,
			plant: func(ctx context.Context) error {
				if err := h.create(ctx, nil); err != nil {
					return err
				}
				if err := h.stage.Client.Create(ctx, c.create(h)); err != nil {
					return err
				}
				return h.awaitEvent(ctx, "FailedCreate")
			},
			commands: [][]string{{"doctor", "-n", h.name}}})
	}
	return faults
}

// awaitEvent waits for an event of the namespace with a reason.
func (h home) awaitEvent(ctx context.Context, reason string) error {
	return stage.Await(ctx, patience, "an event "+reason, func(ctx context.Context) error {
		var events corev1.EventList
		if err := h.stage.Client.List(ctx, &events, client.InNamespace(h.name), client.MatchingFields{"reason": reason}); err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
}

// patch applies a merge patch to an object.
func (q *quiz) patch(ctx context.Context, object client.Object, patch map[string]any) error {
	content, err := jsonOf(patch)
	if err != nil {
		return err
	}
	return q.stage.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, content))
}
