package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// Metrics has the counters of the webhook. Their names are those of v1, and they have no labels.
type Metrics struct {
	inspectedPods, inspectedContainers, mutatedPods, failedMutations, failedImageLookups prometheus.Counter
}

// NewMetrics creates the counters and registers them. The error is that of the registry.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		inspectedPods: counter("akv2k8s_pod_inspections_total", "Pods that the webhook inspected."),
		inspectedContainers: counter("akv2k8s_container_inspections_total",
			"Containers, init containers and ephemeral containers of the inspected pods."),
		mutatedPods: counter("akv2k8s_pod_mutations_total", "Pods that the webhook injected."),
		failedImageLookups: counter("akv2k8s_container_inspections_failed_total",
			"Containers for which the webhook could not read the command of the image."),
		failedMutations: counter("akv2k8s_pod_mutations_failed_total", "Pods that the webhook rejected."),
	}
	for _, c := range []prometheus.Collector{m.inspectedPods, m.inspectedContainers, m.mutatedPods, m.failedMutations,
		m.failedImageLookups} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// countInspection counts a pod and its containers.
func (m *Metrics) countInspection(pod *corev1.Pod) {
	m.inspectedPods.Inc()
	m.inspectedContainers.Add(float64(len(pod.Spec.InitContainers) + len(pod.Spec.Containers) +
		len(pod.Spec.EphemeralContainers)))
}
