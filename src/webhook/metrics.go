package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
)

// Metrics has the counters of the webhook. Except for deliveries, their names are those of v1, and they have no labels.
type Metrics struct {
	inspectedPods, inspectedContainers, mutatedPods, failedMutations, failedImageLookups prometheus.Counter
	// deliveries has the labels delivery and reason.
	deliveries *prometheus.CounterVec
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
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_pod_deliveries_total",
			Help: "Injected pods by delivery (image volume, init container or env file), and why."},
			[]string{"delivery", "reason"}),
	}
	for _, c := range []prometheus.Collector{m.inspectedPods, m.inspectedContainers, m.mutatedPods, m.failedMutations,
		m.failedImageLookups, m.deliveries} {
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

// countDelivery counts how the injector gets into a pod.
func (m *Metrics) countDelivery(d delivery.Decision) {
	m.deliveries.WithLabelValues(string(d.Mode), string(d.Reason)).Inc()
}
