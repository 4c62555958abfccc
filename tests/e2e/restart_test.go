//go:build cluster

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// window is how long the installation waits before it restarts workloads, in seconds: longer than the interval, because
// within it two resources refresh one after the other, also on a busy machine.
const window = interval + 15

// deployment runs a pod that has a variable of each of these Secrets.
func (tm team) deployment(name, willing string, secrets ...string) {
	tm.Helper()
	p := tm.pod(name, nil, "sleep", "infinity")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	for i, secret := range secrets {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("V%d", i), ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: "password"}}})
	}
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name, Annotations: map[string]string{"akv2k8s.io/restart": willing}},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec}}}
	require.NoError(tm, s.Client.Create(tm.Context(), d))
}

// generation counts the changes of a workload's spec.
func (tm team) generation(name string) int64 {
	tm.Helper()
	var d appsv1.Deployment
	require.NoError(tm, s.Client.Get(tm.Context(), types.NamespacedName{Namespace: tm.namespace, Name: name}, &d))
	return d.Generation
}

// workloadsRestart when a value changes that their pods use: once for changes that come together, and only if they are
// willing.
func workloadsRestart(t *testing.T) {
	tm := newTeam(t)
	tm.secret("other", canary+"-other")
	spec := func(object, restart string) string {
		return "{vault: {object: {name: " + object + ", type: secret}}, rolloutRestart: " + restart + ", output: {secret: {name: " + object + ", dataKey: password}}}"
	}
	tm.want("db", spec("db", "{auto: true}"))
	tm.want("other", spec("other", "{workloads: [{kind: Deployment, name: willing}, {kind: Deployment, name: unwilling}, {kind: StatefulSet, name: none}]}"))
	tm.awaitValue("db", canary+"-db", patience)
	tm.awaitValue("other", canary+"-other", patience)
	tm.deployment("willing", "true", "db", "other")
	tm.deployment("unwilling", "false", "db", "other")
	tm.deployment("apart", "true")
	time.Sleep((interval + window + 2) * time.Second)
	assert.EqualValues(t, 1, tm.generation("willing"), "the first data of an output restart nothing")

	tm.secret("db", canary+"-db-2")
	tm.secret("other", canary+"-other-2")
	require.NoError(t, stage.Await(t.Context(), patience, "a new pod", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(tm.namespace), client.MatchingLabels{"app": "willing"}); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.Annotations["akv2k8s.io/restartedAt"] != "" && p.Status.Phase == corev1.PodRunning {
				return nil
			}
		}
		return fmt.Errorf("there are %d pods; %s", len(pods.Items), tm.reasons(ctx))
	}))
	time.Sleep((interval + window + 2) * time.Second)
	assert.EqualValues(t, 2, tm.generation("willing"), "two changes that come together are one restart")
	assert.EqualValues(t, 1, tm.generation("unwilling"))
	assert.EqualValues(t, 1, tm.generation("apart"))
	var events eventsv1.EventList
	require.NoError(t, s.Client.List(t.Context(), &events, client.InNamespace(tm.namespace)))
	notes := ""
	for _, e := range events.Items {
		notes += e.Reason + " " + e.Note + "\n"
	}
	assert.Contains(t, notes, `RolloutRestarted restarted Deployment "willing"`)
	assert.Contains(t, notes, `StatefulSet "none" does not exist`)
	assert.Contains(t, notes, `Deployment "unwilling" has no annotation`)
	tm.nothingButARestart()
}

// nothingButARestart tries, as the controller's ServiceAccount, what it must not be able to do to a workload.
func (tm team) nothingButARestart() {
	tm.Helper()
	config := rest.CopyConfig(s.REST)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:akv2k8s:akv2k8s-controller",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:akv2k8s", "system:authenticated"}}
	controller, err := client.New(config, client.Options{})
	require.NoError(tm, err)
	template := func(inner any) any { return map[string]any{"spec": map[string]any{"template": inner}} }
	annotations := func(all map[string]any) any {
		return template(map[string]any{"metadata": map[string]any{"annotations": all}})
	}
	try := func(name string, patch any) error {
		content, err := json.Marshal(patch)
		require.NoError(tm, err)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}}
		return controller.Patch(tm.Context(), d, client.RawPatch(types.StrategicMergePatchType, content), client.DryRunAll)
	}
	restart := annotations(map[string]any{"akv2k8s.io/restartedAt": "2026-01-01T00:00:00Z"})
	require.NoError(tm, try("willing", restart), "what it is allowed to do")
	for what, patch := range map[string]any{
		"another image":        template(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "app", "image": "evil"}}}}),
		"a ServiceAccount":     template(map[string]any{"spec": map[string]any{"serviceAccountName": "default"}}),
		"another annotation":   annotations(map[string]any{"evil": "1"}),
		"an annotation less":   annotations(map[string]any{"akv2k8s.io/restartedAt": "x", "kubectl.kubernetes.io/default-container": "x"}),
		"a label of the pods":  template(map[string]any{"metadata": map[string]any{"labels": map[string]any{"evil": "1"}}}),
		"replicas":             map[string]any{"spec": map[string]any{"replicas": 0}},
		"a pause":              map[string]any{"spec": map[string]any{"paused": true}},
		"the strategy":         map[string]any{"spec": map[string]any{"strategy": map[string]any{"rollingUpdate": map[string]any{"maxUnavailable": "100%"}}}},
		"its own annotation":   map[string]any{"metadata": map[string]any{"annotations": map[string]any{"evil": "1"}}},
		"its own label":        map[string]any{"metadata": map[string]any{"labels": map[string]any{"evil": "1"}}},
		"an owner":             map[string]any{"metadata": map[string]any{"finalizers": []string{"evil.example/x"}}},
		"less than it allowed": map[string]any{"metadata": map[string]any{"annotations": map[string]any{"akv2k8s.io/restart": nil}}},
	} {
		err := try("willing", patch)
		assert.True(tm, apierrors.IsInvalid(err) || apierrors.IsForbidden(err), "%s: %v", what, err)
		assert.ErrorContains(tm, err, "akv2k8s may change only the time of a restart", what)
	}
	assert.ErrorContains(tm, try("unwilling", restart), "only workloads that have the annotation")
	assert.ErrorContains(tm, try("unwilling", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"akv2k8s.io/restart": "true"}}}), "only workloads that have the annotation")
	assert.True(tm, apierrors.IsForbidden(controller.Delete(tm.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "willing"}})))
}
