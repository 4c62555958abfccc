package broker

import "github.com/prometheus/client_golang/prometheus"

// Metrics count requests; the names are the predecessor's where it had them. No label holds text of an object or of an
// error.
type Metrics struct {
	requests, stale, open prometheus.Counter
	failed                *prometheus.CounterVec
}

// NewMetrics makes the counters and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "akv2k8s_auth_requests_total",
			Help: "Requests of pods to the auth service."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_auth_requests_failed_total", Help: "Of these, the ones that were refused, by reason.",
		}, []string{"reason"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{Name: "akv2k8s_auth_stale_answers_total",
			Help: "Values that were answered from memory because the vault could not be asked."}),
	}
	m.open = prometheus.NewCounter(prometheus.CounterOpts{Name: "akv2k8s_auth_open_answers_total",
		Help: "References that were allowed because a ConfigMap or Secret of the pod was missing when it was created."})
	for _, c := range []prometheus.Collector{m.requests, m.failed, m.stale, m.open} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
