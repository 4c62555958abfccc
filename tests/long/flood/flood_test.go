//go:build cluster

package flood

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

const (
	// lasting is how long the attacks go on. The ordinary work has to be done within that time.
	lasting = 3 * time.Minute
	// podCount and resourceCount are the ordinary work, which is done once in calm and once under attack.
	podCount, resourceCount = 20, 50
	// The chart's default limits of memory, in bytes.
	controllerMemory, injectorMemory = 512 << 20, 256 << 20
)

// suite is a cluster with the product installed by default values, as far as the chart's limits go.
type suite struct {
	*testing.T
	*stage.Stage
}

func TestFlood(t *testing.T) {
	f := suite{t, stagetest.Open(t, stagetest.Config(t, "flood"))}
	require.NoError(t, f.Install(t.Context(), stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: map[string]any{
		// Only TLS is off, for the registries of attackers, whose certificates nobody trusts.
		"env_injector":              map[string]any{"registries": map[string]any{"plainHTTP": []string{"*:5001"}}},
		"azureKeyVaultResyncPeriod": 5, "global": map[string]any{"metrics": map[string]any{"enabled": true}}}}))
	f.checkLimits()
	f.tenant("quiet")
	calm := f.ordinaryWork("calm")
	before := f.restarts()

	f.poison()
	watch := f.watchMemory()
	attackers := f.attack()
	f.awaitAttackers(attackers)
	attacked := f.ordinaryWork("attacked")
	outcomes := f.finish(attackers)
	peaks := watch()

	f.Logf("%d pods started and %d resources synced: in calm %s and %s, under attack %s and %s", podCount, resourceCount,
		calm.pods, calm.resources, attacked.pods, attacked.resources)
	for name, outcome := range outcomes {
		f.Logf("attack %s: %s", name, outcome)
		assert.Regexp(t, reached, outcome, "attack %s did nothing", name)
		assert.NotContains(t, outcome, "told", "attack %s learned which Secrets exist", name)
	}
	for pod, peak := range peaks {
		f.Logf("%s needed at most %.0f MiB", pod, peak/(1<<20))
		most := float64(injectorMemory)
		if strings.Contains(pod, "controller") {
			most = controllerMemory
		}
		assert.Less(t, peak, most, pod)
	}
	assert.Equal(t, before, f.restarts(), "a replica was restarted or replaced")
	f.followsAfterwards()
}

// reached is what an attack counts when something came of it: an answer, an answer that it left unread, or a
// connection.
var reached = regexp.MustCompile(`(^| )([1-5][0-9]{2}|unread_200|opened|accepted) [1-9]`)

// checkLimits makes sure that the suite tests the chart's own limits.
func (f suite) checkLimits() {
	f.Helper()
	for component, want := range map[string]int64{"akv2k8s-controller": controllerMemory, "akv2k8s-webhook": injectorMemory} {
		for _, p := range f.replicas(component) {
			assert.Equal(f, want, p.Spec.Containers[0].Resources.Limits.Memory().Value(), "the memory limit of %s", p.Name)
			assert.True(f, p.Spec.Containers[0].Resources.Limits.Cpu().IsZero(), "%s has a CPU limit", p.Name)
		}
	}
}

func (f suite) replicas(component string) []corev1.Pod {
	f.Helper()
	var pods corev1.PodList
	require.NoError(f, f.Client.List(f.Context(), &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": component}))
	running := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	require.NotEmpty(f, running)
	return running
}

// restarts are the restarts of each replica, by pod.
func (f suite) restarts() map[string]int32 {
	f.Helper()
	all := map[string]int32{}
	for _, component := range []string{"akv2k8s-controller", "akv2k8s-webhook"} {
		for _, p := range f.replicas(component) {
			for _, c := range p.Status.ContainerStatuses {
				all[p.Name] += c.RestartCount
			}
		}
	}
	return all
}

// watchMemory samples the working sets of the replicas until the function that it returns is called, which gives the
// highest of each.
func (f suite) watchMemory() (stop func() map[string]float64) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	var group sync.WaitGroup
	peaks := map[string]float64{}
	group.Go(func() {
		for ctx.Err() == nil {
			if sets, err := f.workingSets(ctx); err == nil {
				for pod, bytes := range sets {
					peaks[pod] = max(peaks[pod], bytes)
				}
			}
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
	})
	return func() map[string]float64 {
		cancel()
		group.Wait()
		require.NotEmpty(f, peaks, "the kubelet gave no figures of memory")
		return peaks
	}
}

var workingSet = regexp.MustCompile(`(?m)^pod_memory_working_set_bytes\{namespace="akv2k8s",pod="([^"]+)"\} (\S+)`)

// workingSets are the bytes that the kubelet counts of each pod of the product.
func (f suite) workingSets(ctx context.Context) (map[string]float64, error) {
	var nodes corev1.NodeList
	if err := f.Client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for _, node := range nodes.Items {
		content, err := f.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).SubResource("proxy", "metrics", "resource").DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range workingSet.FindAllStringSubmatch(string(content), -1) {
			if all[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// tenant makes a labelled namespace and a vault of that name, with a secret that its resources name.
func (f suite) tenant(name string) {
	f.Helper()
	require.NoError(f, f.Namespace(f.Context(), name, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	require.NoError(f, f.Azure.Vault(f.Context(), "kv-"+name, map[string]string{"db": "value-of-db"}))
}

// times are how long the ordinary work took.
type times struct{ pods, resources time.Duration }

// ordinaryWork starts pods and syncs resources of a tenant that attacks nobody, and returns how long it took until all
// were done.
func (f suite) ordinaryWork(phase string) (took times) {
	f.Helper()
	ctx, started := f.Context(), time.Now()
	for i := range resourceCount {
		require.NoError(f, f.Azure.Put(ctx, "kv-quiet", fmt.Sprintf("%s-%d", phase, i), "value"))
		require.NoError(f, f.Apply(ctx, "quiet", fmt.Sprintf(`apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: %[1]s-%[2]d}
spec:
  vault: {name: kv-quiet, object: {name: %[1]s-%[2]d, type: secret}}
  output: {secret: {name: %[1]s-%[2]d, dataKey: value}}
`, phase, i)))
	}
	created := time.Now()
	for i := range podCount {
		require.NoError(f, f.Client.Create(ctx, f.pod("quiet", fmt.Sprintf("%s-%d", phase, i), map[string]string{"DB": phase + "-0@azurekeyvault"},
			"sh", "-c", `test "$DB" = value`)))
	}
	require.NoError(f, stage.Await(ctx, lasting, "the resources of "+phase, func(ctx context.Context) error {
		var secrets corev1.SecretList
		if err := f.Client.List(ctx, &secrets, client.InNamespace("quiet")); err != nil {
			return err
		}
		synced := 0
		for _, secret := range secrets.Items {
			if strings.HasPrefix(secret.Name, phase+"-") && string(secret.Data["value"]) == "value" {
				synced++
			}
		}
		if synced < resourceCount {
			return fmt.Errorf("%d of %d are synced", synced, resourceCount)
		}
		return nil
	}))
	took.resources = time.Since(started).Round(time.Millisecond)
	f.Say("%s: %d resources synced after %s", phase, resourceCount, took.resources)
	require.NoError(f, stage.Await(ctx, lasting, "the pods of "+phase, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := f.Client.List(ctx, &pods, client.InNamespace("quiet")); err != nil {
			return err
		}
		done := 0
		for _, p := range pods.Items {
			if strings.HasPrefix(p.Name, phase+"-") {
				if p.Status.Phase == corev1.PodFailed {
					return fmt.Errorf("pod %s failed: %+v", p.Name, p.Status.ContainerStatuses)
				}
				if p.Status.Phase == corev1.PodSucceeded {
					done++
				}
			}
		}
		if done < podCount {
			return fmt.Errorf("%d of %d have ended well", done, podCount)
		}
		return nil
	}))
	took.pods = time.Since(created).Round(time.Millisecond)
	f.Say("%s: %d pods ended well after %s", phase, podCount, took.pods)
	return took
}

// followsAfterwards makes sure that the installation works as before when the attacks are over.
func (f suite) followsAfterwards() {
	f.Helper()
	require.NoError(f, f.Azure.Put(f.Context(), "kv-quiet", "calm-0", "rotated"))
	require.NoError(f, stage.Await(f.Context(), time.Minute, "a change in the vault to arrive", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := f.Client.Get(ctx, client.ObjectKey{Namespace: "quiet", Name: "calm-0"}, &secret); err != nil {
			return err
		}
		if string(secret.Data["value"]) != "rotated" {
			return fmt.Errorf("the Secret has the old value")
		}
		return nil
	}))
}

// pod describes a pod of one container.
func (f suite) pod(namespace, name string, env map[string]string, command ...string) *corev1.Pod {
	grace := int64(1)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{{Name: "app", Image: f.Image("testbox"), ImagePullPolicy: corev1.PullIfNotPresent, Command: command}}}}
	for key, value := range env {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: key, Value: value})
	}
	return p
}
