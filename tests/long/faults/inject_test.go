//go:build cluster

package faults

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// refusedFor is how long creates may be refused after a replica was killed without a word: until its Service has
// forgotten it.
const refusedFor = 10 * time.Second

// crew are the pods that start while the env-injector suffers.
type crew struct {
	*testing.T
	*stage.Stage
	cluster *local.Cluster
}

// TestPodsStartWhateverHappensToTheEnvInjector takes its replicas away, with and without a word, and changes its CA,
// while pods start.
func TestPodsStartWhateverHappensToTheEnvInjector(t *testing.T) {
	s := stagetest.Open(t, config(t, "faults"))
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: map[string]any{"controller": map[string]any{"enabled": false}}}))
	require.NoError(t, s.Namespace(t.Context(), "team", map[string]string{"azure-key-vault-env-injection": "enabled"}))
	require.NoError(t, s.Azure.Vault(t.Context(), "kv-team", map[string]string{"db": "value-0"}))
	resource := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "db"}}
	resource.Spec.Vault.Name, resource.Spec.Vault.Object.Name, resource.Spec.Vault.Object.Type = "kv-team", "db", "secret"
	require.NoError(t, s.Client.Create(t.Context(), resource))
	c := crew{t, s, s.Cluster.(*local.Cluster)}
	c.twoReplicas()

	t.Run("a replica is deleted while 30 pods are created one by one", func(t *testing.T) {
		c := crew{t, s, c.cluster}
		c.while(30, 10, func() { c.deleteReplica() })
	})
	t.Run("the CA is rotated while pods start, twice, and a container starts again with the first one", func(t *testing.T) {
		c := crew{t, s, c.cluster}
		old := c.restarter("old")
		c.while(12, 4, func() { c.ca("rotate") })
		c.while(12, 4, func() { c.ca("rotate") })
		c.restarts(old)
	})
	t.Run("a replica is killed", func(t *testing.T) {
		crew{t, s, c.cluster}.killed()
	})
	t.Run("files stay while every replica is away, and the container that writes them is killed", func(t *testing.T) {
		crew{t, s, c.cluster}.filesStay()
	})
	t.Run("a pod's token is refused: its files stay", func(t *testing.T) {
		crew{t, s, c.cluster}.tokenIsRefused()
	})
	t.Run("the node is started again, and what was in memory is lost", func(t *testing.T) {
		crew{t, s, c.cluster}.nodeRestarts()
	})
	t.Run("the CA is replaced after a compromise", func(t *testing.T) {
		c := crew{t, s, c.cluster}
		old := c.restarter("compromised")
		c.ca("replace")
		c.believed(time.Minute)
		c.while(3, 10, func() {})
		assert.Contains(t, c.again(old), "recreate the pod")
	})
}

// replicas are the env-injector's pods.
func (c crew) replicas(ctx context.Context) []corev1.Pod {
	var pods corev1.PodList
	if c.Client.List(ctx, &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-webhook"}) != nil {
		return nil
	}
	return pods.Items
}

func (c crew) twoReplicas() {
	c.Helper()
	require.NoError(c, stage.Await(c.Context(), time.Minute, "two replicas", func(ctx context.Context) error {
		ready := 0
		all := c.replicas(ctx)
		for _, p := range all {
			for _, condition := range p.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
					ready++
				}
			}
		}
		if ready != 2 || len(all) != 2 {
			return fmt.Errorf("%d of %d are ready", ready, len(all))
		}
		return nil
	}))
}

// while creates pods one by one, does something after some of them, and wants every create to work and every pod to
// have its value.
func (c crew) while(count, after int, do func()) {
	c.Helper()
	created := names(strings.ToLower(fmt.Sprintf("crew-%x", time.Now().UnixNano())), count)
	for i, name := range created {
		if i == after {
			do()
		}
		require.NoError(c, c.Client.Create(c.Context(), printer(c.Stage, name)), "no create is refused")
		time.Sleep(200 * time.Millisecond)
	}
	for _, name := range created {
		require.NoError(c, stage.Await(c.Context(), 2*time.Minute, "pod "+name, func(ctx context.Context) error {
			var p corev1.Pod
			err := c.Client.Get(ctx, types.NamespacedName{Namespace: "team", Name: name}, &p)
			if err == nil && p.Status.Phase == corev1.PodFailed {
				assert.Fail(c, "a container failed", "%+v", p.Status.ContainerStatuses)
				return nil
			}
			if err == nil && p.Status.Phase != corev1.PodSucceeded {
				err = fmt.Errorf("it is %s", p.Status.Phase)
			}
			return err
		}))
	}
	c.twoReplicas()
}

func (c crew) deleteReplica() {
	c.Helper()
	require.NoError(c, c.Client.Delete(c.Context(), &c.replicas(c.Context())[0]))
}

// ca changes the CA, by the command that docs name.
func (c crew) ca(how string) {
	c.Helper()
	pod := c.replicas(c.Context())[0].Name
	request := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace("akv2k8s").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"/usr/local/bin/envinjector", "ca", how}, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.REST, "GET", request.URL().String())
	require.NoError(c, err)
	var out, errs strings.Builder
	require.NoError(c, executor.StreamWithContext(c.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}), errs.String())
	assert.Contains(c, out.String(), "has a new CA")
}

// restarter is a pod whose container ends, and starts again, when it is told to; it gives its first value only.
func (c crew) restarter(name string) *corev1.Pod {
	c.Helper()
	p := printer(c.Stage, name)
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers[0].Command = []string{"sh", "-c", `case "$DB" in value-*) echo started; sleep 3600;; esac; exit 1`}
	p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_RETRIES", Value: "0"})
	require.NoError(c, c.Client.Create(c.Context(), p))
	require.NoError(c, stage.Await(c.Context(), time.Minute, "pod "+name, func(ctx context.Context) error {
		if content, err := c.log(ctx, name); err != nil || !strings.Contains(content, "started") {
			return fmt.Errorf("%q: %w", content, err)
		}
		return nil
	}))
	return p
}

func (c crew) log(ctx context.Context, pod string) (string, error) {
	content, err := c.Kube.CoreV1().Pods("team").GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	return string(content), err
}

// again ends the pod's container, and gives the log of the one that comes after.
func (c crew) again(p *corev1.Pod) string {
	c.Helper()
	var now corev1.Pod
	require.NoError(c, c.Client.Get(c.Context(), client.ObjectKeyFromObject(p), &now))
	before := now.Status.ContainerStatuses[0].RestartCount
	require.Equal(c, 1, c.kill("HOSTNAME="+p.Name+"\x00"), "its process")
	var content string
	require.NoError(c, stage.Await(c.Context(), 2*time.Minute, "the container to start again", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), &now); err != nil {
			return err
		}
		if now.Status.ContainerStatuses[0].RestartCount == before {
			return fmt.Errorf("it has not yet")
		}
		var err error
		if content, err = c.log(ctx, p.Name); err == nil && content == "" {
			err = fmt.Errorf("it says nothing yet")
		}
		return err
	}))
	return content
}

func (c crew) restarts(p *corev1.Pod) {
	c.Helper()
	assert.Equal(c, "started\n", c.again(p))
}

// kill kills every process of the cluster's containers whose environment has a text and that does not wait for another.
func (c crew) kill(environment string) int {
	c.Helper()
	found := 0
	for _, p := range host.Processes(host.IDOf(c.cluster.Work), c.cluster.Work) {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if err == nil && strings.Contains(string(content), environment) && !strings.HasPrefix(p.Command, "sleep") {
			require.NoError(c, syscall.Kill(p.PID, syscall.SIGKILL))
			found++
		}
	}
	return found
}

// killed kills a replica without a word: for a moment creates may be refused, but no pod starts with a raw reference,
// and a Deployment's pods all come.
func (c crew) killed() {
	c.Helper()
	victim := c.replicas(c.Context())[0].Name
	replicas := int32(10)
	labels := map[string]string{"app": "many"}
	template := printer(c.Stage, "")
	template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	template.Spec.Containers[0].Command = []string{"sh", "-c", `case "$DB" in value-*) sleep 3600;; esac; exit 1`}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "many"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template.Spec}}}
	require.Equal(c, 1, c.kill("HOSTNAME="+victim+"\x00"), "the replica's process")
	started := time.Now()
	require.NoError(c, c.Client.Create(c.Context(), d))
	var lastRefused time.Duration
	for i := 0; time.Since(started) < 15*time.Second; i++ {
		p := printer(c.Stage, fmt.Sprintf("killed-%d", i))
		if err := c.Client.Create(c.Context(), p, client.DryRunAll); err != nil {
			lastRefused = time.Since(started)
			continue
		}
		require.True(c, slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == wire.VolumeInjector }), "a pod that is taken is injected")
		time.Sleep(100 * time.Millisecond)
	}
	c.Logf("creates were refused until %s after the kill", lastRefused.Round(time.Millisecond))
	assert.Less(c, lastRefused, refusedFor)
	require.NoError(c, stage.Await(c.Context(), 30*time.Second-time.Since(started)+15*time.Second, "the Deployment's pods", func(ctx context.Context) error {
		var now appsv1.Deployment
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(d), &now); err != nil || now.Status.ReadyReplicas != replicas {
			return fmt.Errorf("%d are ready: %w", now.Status.ReadyReplicas, err)
		}
		return nil
	}))
	c.Logf("the Deployment's %d pods ran after %s", replicas, time.Since(started).Round(time.Millisecond))
	require.NoError(c, c.Client.Delete(c.Context(), d))
	c.twoReplicas()
}

// believed waits until the API server believes the new CA.
func (c crew) believed(patience time.Duration) {
	c.Helper()
	require.NoError(c, stage.Await(c.Context(), patience, "admission with the new CA", func(ctx context.Context) error {
		return c.Client.Create(ctx, printer(c.Stage, "believed"), client.DryRunAll)
	}))
}
