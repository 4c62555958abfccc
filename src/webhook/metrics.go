package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// Metrics has the counters of the webhook. Their names are those of v1, and they have no labels.
type Metrics struct {
	pods, containers, mutated, failed, unknown prometheus.Counter
}

// NewMetrics creates the counters and registers them. The error is that of the registry.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		pods: counter("akv2k8s_pod_inspections_total", "Pods that the webhook inspected."),
		containers: counter("akv2k8s_container_inspections_total",
			"Containers, init containers and ephemeral containers of the inspected pods."),
		mutated: counter("akv2k8s_pod_mutations_total", "Pods that the webhook injected."),
		unknown: counter("akv2k8s_container_inspections_failed_total",
			"Containers for which the webhook could not read the command of the image."),
		failed: counter("akv2k8s_pod_mutations_failed_total", "Pods that the webhook rejected."),
	}
	for _, c := range []prometheus.Collector{m.pods, m.containers, m.mutated, m.failed, m.unknown} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// inspected counts a pod and its containers.
func (m *Metrics) inspected(pod *corev1.Pod) {
	m.pods.Inc()
	m.containers.Add(float64(len(pod.Spec.InitContainers) + len(pod.Spec.Containers) +
		len(pod.Spec.EphemeralContainers)))
}
