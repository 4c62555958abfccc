//go:build cluster

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// Figures of Kyverno 1.18.1's mutating policy for such bursts, on 32 processors (published).
var kyverno = map[int]string{200: "240 ms", 500: "427 to 460 ms"}

// Many pods of one Deployment, on nodes that are objects alone.
const (
	manyPods, objectNodes = 2000, 10
	podsPerObjectNode     = 250
)

// bursts creates pods all at once, as dry runs, and reads from the API server how long it waited for the webhook.
func (b bench) bursts() {
	for _, size := range []int{200, 500} {
		b.calm()
		before, busy := b.webhookWaits(), b.processorTime()
		times := make([]time.Duration, size)
		var group sync.WaitGroup
		begin := make(chan struct{})
		for i := range size {
			group.Go(func() {
				<-begin
				started := time.Now()
				assert.NoError(b, b.Client.Create(b.Context(), b.pod(fmt.Sprintf("burst-%d", i), 2, "true"), client.DryRunAll))
				times[i] = time.Since(started)
			})
		}
		close(begin)
		group.Wait()
		slices.Sort(times)
		p50, p99 := b.webhookWaits().since(before)
		b.figure("%d pods created at once: the API server waited for the webhook at most %s (median) and %s (p99); a create took %s (median) and %s (p99); %s of processor time of the replicas, no failure; Kyverno's p99 on 32 processors is %s", size,
			p50, p99, times[size/2].Round(time.Millisecond), times[size*99/100].Round(time.Millisecond), (b.processorTime() - busy).Round(10*time.Millisecond), kyverno[size])
		require.Positive(b, p99, "the API server called the webhook")
		b.atMost(fmt.Sprintf("burst-%d-p99", size), times[size*99/100].Seconds(), 3, "s")
	}
	assert.Zero(b, b.answers()[2], "the API server is never refused, by no replica")
}

// processorTime is what all replicas of the env-injector have used.
func (b bench) processorTime() time.Duration {
	b.Helper()
	var pods corev1.PodList
	require.NoError(b, b.Client.List(b.Context(), &pods, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-webhook"}))
	require.NotEmpty(b, pods.Items)
	var sum float64
	for _, p := range pods.Items {
		content, err := b.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/akv2k8s/pods/" + p.Name + ":8080/proxy/metrics").DoRaw(b.Context())
		require.NoError(b, err)
		for line := range strings.Lines(string(content)) {
			var seconds float64
			if n, _ := fmt.Sscanf(line, "process_cpu_seconds_total %g", &seconds); n == 1 {
				sum += seconds
			}
		}
	}
	require.Positive(b, sum)
	return time.Duration(sum * float64(time.Second))
}

// waits is a histogram: how many waits were at most as long as a bound in seconds.
type waits map[float64]float64

// webhookWaits reads the API server's histogram of its calls of the webhook.
func (b bench) webhookWaits() waits {
	b.Helper()
	content, err := b.Kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(b.Context())
	require.NoError(b, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(content)))
	require.NoError(b, err)
	found := waits{}
	family := families["apiserver_admission_webhook_admission_duration_seconds"]
	for _, metric := range family.GetMetric() { // none before the first review
		if slices.ContainsFunc(metric.Label, func(l *dto.LabelPair) bool { return strings.HasPrefix(l.GetValue(), "pods.") }) {
			for _, bucket := range metric.Histogram.Bucket {
				found[bucket.GetUpperBound()] += float64(bucket.GetCumulativeCount())
			}
		}
	}
	return found
}

// since is the median and the 99th percentile of the waits after an earlier reading, each as the bound of its bucket.
func (w waits) since(before waits) (p50, p99 time.Duration) {
	if len(w) == 0 {
		return 0, 0
	}
	var bounds []float64
	for bound := range w {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	all := w[bounds[len(bounds)-1]] - before[bounds[len(bounds)-1]]
	percentile := func(share float64) time.Duration {
		for _, bound := range bounds {
			if w[bound]-before[bound] >= share*all {
				return time.Duration(bound * float64(time.Second))
			}
		}
		return 0
	}
	return percentile(0.5), percentile(0.99)
}

// deployment creates a Deployment of many pods. Its nodes are objects without a kubelet, so that the pods are admitted,
// stored and scheduled, and nothing else of this machine takes part.
func (b bench) deployment() {
	for i := range objectNodes {
		b.objectNode(fmt.Sprintf("object-%d", i))
	}
	b.calm()
	before, answers := b.webhookWaits(), b.answers()
	replicas := int32(manyPods)
	p := b.pod("many", 2, "true")
	p.Spec.RestartPolicy, p.Spec.NodeSelector = corev1.RestartPolicyAlways, map[string]string{"bench": "object"}
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	p.Spec.AutomountServiceAccountToken = new(bool)
	labels := map[string]string{"of": "many"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "many"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec}}}
	started := time.Now()
	require.NoError(b, b.Client.Create(b.Context(), d))
	require.NoError(b, stage.Await(b.Context(), 10*time.Minute, "the pods of the Deployment", func(ctx context.Context) error {
		var current appsv1.Deployment
		err := b.Client.Get(ctx, types.NamespacedName{Namespace: "team", Name: "many"}, &current)
		if err == nil && current.Status.Replicas < replicas {
			err = fmt.Errorf("%d are created", current.Status.Replicas)
		}
		return err
	}))
	took := time.Since(started)
	after := b.answers()
	p50, p99 := b.webhookWaits().since(before)
	memory := int64(b.usageOf(b.Context(), "akv2k8s-envinjector-", "container_memory_working_set_bytes"))
	b.figure("a Deployment of %d pods on nodes that are objects: created within %s; the API server waited for the webhook at most %s (median) and %s (p99); %.0f reviews; memory of a replica %.1f MB (budget %d MB)",
		manyPods, took.Round(time.Second), p50, p99, after[1]-answers[1], mega(memory), replicaMemory>>20)
	b.atMost("deployment-of-2000-memory", mega(memory), mega(replicaMemory), "MB")
	assert.Zero(b, after[2], "the API server is never refused, by no replica")
	assert.LessOrEqual(b, memory, int64(replicaMemory))
	require.NoError(b, b.Client.Delete(b.Context(), d, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	none := int64(0)
	require.NoError(b, stage.Await(b.Context(), 5*time.Minute, "no pods", func(ctx context.Context) error {
		// No kubelet confirms their end.
		if err := b.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace("team"), &client.DeleteAllOfOptions{DeleteOptions: client.DeleteOptions{GracePeriodSeconds: &none}}); err != nil {
			return err
		}
		var pods corev1.PodList
		if err := b.Client.List(ctx, &pods, client.InNamespace("team"), client.Limit(1)); err != nil || len(pods.Items) > 0 {
			return fmt.Errorf("some are left: %w", err)
		}
		return nil
	}))
	require.NoError(b, b.Client.DeleteAllOf(b.Context(), &corev1.Node{}, client.MatchingLabels{"bench": "object"}))
}

// objectNode creates a node that no kubelet runs. It mounts images, as far as anybody can tell.
func (b bench) objectNode(name string) {
	b.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"bench": "object"}}}
	require.NoError(b, b.Client.Create(b.Context(), n))
	capacity := corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse(fmt.Sprint(podsPerObjectNode))}
	before := n.DeepCopy()
	n.Status = corev1.NodeStatus{Capacity: capacity, Allocatable: capacity, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}},
		NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "containerd://2.4.2", OperatingSystem: "linux", Architecture: "amd64"}}
	require.NoError(b, b.Client.Status().Patch(b.Context(), n, client.MergeFrom(before)))
}
