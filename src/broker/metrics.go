package broker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests. The metrics that akv2k8s 1.8 had keep their names. No label holds text of an object or an
// error.
type Metrics struct {
	requests, staleValues, unrecordedReferences prometheus.Counter
	failedRequests, files                       *prometheus.CounterVec
}

// NewMetrics creates the counters and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "akv2k8s_auth_requests_total",
			Help: "Requests of pods to the auth service, failed ones included."}),
		failedRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_auth_requests_failed_total", Help: "Failed requests of pods to the auth service, by reason.",
		}, []string{"reason"}),
		staleValues: prometheus.NewCounter(prometheus.CounterOpts{Name: "akv2k8s_auth_stale_answers_total",
			Help: "Stale values served because the vault was unavailable."}),
	}
	m.unrecordedReferences = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "akv2k8s_auth_unrecorded_references_total",
		Help: "Unrecorded references allowed because a ConfigMap or Secret did not exist when the pod was created."})
	m.files = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_auth_files_requests_total",
		Help: "Answered requests of pods for their files, by whether the files had changed."}, []string{"changed"})
	for _, c := range []prometheus.Collector{m.requests, m.failedRequests, m.staleValues, m.unrecordedReferences,
		m.files} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// countFiles counts an answered request for files.
func (m *Metrics) countFiles(unchanged bool) {
	m.files.WithLabelValues(strconv.FormatBool(!unchanged)).Inc()
}
