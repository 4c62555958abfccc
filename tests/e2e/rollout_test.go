//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

const (
	// stalled is how long a rollout that must not go on is watched. One that is not stopped ends within six seconds.
	stalled = 10 * time.Second
	// resumed is how long a rollout may take once its cause is mended: the kubelet waits up to 80 seconds before it
	// restarts a container that failed four times.
	resumed = 4 * time.Minute
	// forever keeps a container running, and ends with it.
	forever = "trap 'exit 0' TERM; echo got ${#DB} characters; while true; do sleep 0.2; done"
)

// rollout is a Deployment of three pods that serve, and of which a change gets pods that can't have their values.
type rollout struct {
	team
	name string
}

// deploy creates the Deployment and waits for its pods.
func (tm team) deploy(name string, change func(*corev1.PodSpec)) rollout {
	tm.Helper()
	replicas := int32(3)
	template := tm.template(name, corev1.RestartPolicyAlways, forever)
	if change != nil {
		change(&template.Spec)
	}
	r := rollout{tm, name}
	require.NoError(tm, s.Client.Create(tm.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": name}}, Template: template}}))
	r.complete(2 * patience)
	return r
}

// now is the Deployment as it is.
func (r rollout) now(ctx context.Context) (d appsv1.Deployment, err error) {
	err = s.Client.Get(ctx, types.NamespacedName{Namespace: r.namespace, Name: r.name}, &d)
	return d, err
}

// pods are those of the Deployment that are not on their way out.
func (r rollout) pods(ctx context.Context) (pods []corev1.Pod) {
	var list corev1.PodList
	if s.Client.List(ctx, &list, client.InNamespace(r.namespace), client.MatchingLabels{"of": r.name}) != nil {
		return nil
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			pods = append(pods, p)
		}
	}
	return pods
}

// complete waits until kubectl rollout status would say so.
func (r rollout) complete(within time.Duration) {
	r.Helper()
	require.NoError(r, stage.Await(r.Context(), within, "the rollout of "+r.name, func(ctx context.Context) error {
		d, err := r.now(ctx)
		if done := d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 3 && d.Status.Replicas == 3 && d.Status.AvailableReplicas == 3; err == nil && !done {
			err = fmt.Errorf("it is %+v; %s", d.Status, r.described(ctx))
		}
		return err
	}))
}

// described is what kubectl describe shows of the pods' containers.
func (r rollout) described(ctx context.Context) string {
	said := ""
	for _, p := range r.pods(ctx) {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			said += fmt.Sprintf("%s/%s: %s; ", p.Name, c.Name, messageOf(c))
		}
	}
	return said
}

// messageOf is the container's termination message, of now or of the time before.
func messageOf(c corev1.ContainerStatus) string {
	for _, state := range []corev1.ContainerState{c.State, c.LastTerminationState} {
		if state.Terminated != nil && state.Terminated.Message != "" {
			return state.Terminated.Message
		}
	}
	return ""
}

// refer changes what the Deployment's pods refer to, and gives the names of the pods of before.
func (r rollout) refer(reference string) (before []string) {
	r.Helper()
	for _, p := range r.pods(r.Context()) {
		before = append(before, p.Name)
	}
	require.Len(r, before, 3)
	d, err := r.now(r.Context())
	require.NoError(r, err)
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"DB","value":%q}]}]}}}}`, reference)
	require.NoError(r, s.Client.Patch(r.Context(), &d, client.RawPatch(types.StrategicMergePatchType, []byte(patch))))
	return before
}

// stalls waits until the new pod says why it can't start, and holds the rollout to it for a while: all pods of before
// are there and ready, and no new one is.
func (r rollout) stalls(before []string, says string) {
	r.Helper()
	require.NoError(r, stage.Await(r.Context(), patience, "the reason", func(ctx context.Context) error {
		r.requireServing(ctx, before)
		said := r.described(ctx) + r.logs(ctx, before)
		if !strings.Contains(said, says) {
			return fmt.Errorf("it is %q", said)
		}
		return nil
	}))
	for started := time.Now(); time.Since(started) < stalled; time.Sleep(200 * time.Millisecond) {
		r.requireServing(r.Context(), before)
	}
}

// logs are those of the new pods, injected containers and the init container.
func (r rollout) logs(ctx context.Context, before []string) (all string) {
	for _, p := range r.pods(ctx) {
		if strings.Contains(strings.Join(before, " "), p.Name) {
			continue
		}
		for _, container := range []string{initContainer, "app"} {
			content, _ := s.Kube.CoreV1().Pods(r.namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
			all += string(content)
		}
	}
	return all
}

// requireServing fails unless the three pods of before are ready, and they alone.
func (r rollout) requireServing(ctx context.Context, before []string) {
	r.Helper()
	serving := 0
	for _, p := range r.pods(ctx) {
		old := strings.Contains(strings.Join(before, " "), p.Name)
		for _, c := range p.Status.Conditions {
			if c.Type != corev1.PodReady || c.Status != corev1.ConditionTrue {
				continue
			}
			require.True(r, old, "%s is ready, and its program does not run: %s", p.Name, r.described(ctx))
			serving++
		}
	}
	require.Equal(r, 3, serving, "pods that serve; %s", r.described(ctx))
}

// rolloutsStall changes Deployments to what can't be had, and mends that.
func rolloutsStall(t *testing.T) {
	own := func(p *corev1.PodSpec) {
		p.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	}
	direct := func(p *corev1.PodSpec) {
		for name, value := range ownCredentials() {
			p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
		}
	}
	fails := func(status int, code string) func(team) {
		return func(tm team) {
			tm.secret("next", canary+"-next")
			tm.resource("next", "next", "")
			require.NoError(tm, s.Azure.Inject(tm.Context(), keyvault.Fault{Vault: tm.vault, Name: "next", Status: status, Code: code}))
		}
	}
	heal := func(tm team) { require.NoError(tm, s.Azure.Heal(tm.Context(), tm.vault)) }
	for name, c := range map[string]struct {
		change       func(*corev1.PodSpec)
		breaks, mend func(team)
		says         string
	}{
		"denied":                          {nil, fails(403, "Forbidden"), heal, "AccessDenied: "},
		"denied, with a probe of its own": {own, fails(403, "Forbidden"), heal, "AccessDenied: "},
		"not in the vault":                {nil, func(tm team) { tm.resource("next", "next", "") }, func(tm team) { tm.secret("next", canary+"-next") }, "ObjectNotFound: "},
		"no AzureKeyVaultSecret": {nil, func(team) {}, func(tm team) {
			tm.secret("next", canary+"-next")
			tm.resource("next", "next", "")
		}, "there is no AzureKeyVaultSecret"},
		"the vault is away":                             {nil, fails(503, "ServiceUnavailable"), heal, "retrying"},
		"denied, in a pod that reads itself":            {direct, fails(403, "Forbidden"), heal, "AccessDenied: "},
		"the vault is away for a pod that reads itself": {direct, fails(503, "ServiceUnavailable"), heal, "retrying"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tm := newTeam(t)
			tm.resource("db", "db", "")
			r := tm.deploy("app", c.change)
			c.breaks(tm)
			r.stalls(r.refer("next@azurekeyvault"), c.says)
			c.mend(tm)
			r.complete(resumed)
			for _, p := range r.pods(t.Context()) {
				tm.awaitLog(p.Name, fmt.Sprintf("got %d characters\n", len(canary+"-next")))
			}
		})
	}
}

// statefulSetStalls changes a StatefulSet to what does not exist yet: its last pod waits, and the others serve.
func statefulSetStalls(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	replicas := int32(2)
	template := tm.template("set", corev1.RestartPolicyAlways, forever)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "set"}, Spec: appsv1.StatefulSetSpec{Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": "set"}}, Template: template}}
	require.NoError(t, s.Client.Create(t.Context(), set))
	await := func(what string, done func(appsv1.StatefulSetStatus) bool) {
		require.NoError(t, stage.Await(t.Context(), 2*patience, what, func(ctx context.Context) error {
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(set), set); err != nil {
				return err
			}
			if set.Status.ObservedGeneration != set.Generation || !done(set.Status) {
				return fmt.Errorf("it is %+v", set.Status)
			}
			return nil
		}))
	}
	await("two pods", func(now appsv1.StatefulSetStatus) bool { return now.ReadyReplicas == 2 })
	patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"DB","value":"next@azurekeyvault"}]}]}}}}`)
	require.NoError(t, s.Client.Patch(t.Context(), set, client.RawPatch(types.StrategicMergePatchType, patch)))
	tm.awaitLog("set-1", "there is no AzureKeyVaultSecret")
	for started := time.Now(); time.Since(started) < stalled; time.Sleep(200 * time.Millisecond) {
		var first corev1.Pod
		require.NoError(t, s.Client.Get(t.Context(), types.NamespacedName{Namespace: tm.namespace, Name: "set-0"}, &first))
		require.Equal(t, "db@azurekeyvault", first.Spec.Containers[0].Env[0].Value, "the first pod stays as it was")
	}
	tm.secret("next", canary+"-next")
	tm.resource("next", "next", "")
	await("the rollout", func(now appsv1.StatefulSetStatus) bool { return now.ReadyReplicas == 2 && now.UpdatedReplicas == 2 })
}
