package gate

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what was rejected. There is no label for the address: whoever asks could make any number of series.
type Metrics struct{ rejected *prometheus.CounterVec }

// NewMetrics makes the counter and registers it.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_requests_rejected_total",
		Help: "Connections and requests that were rejected because an address exceeded a limit, by port and limit."},
		[]string{"port", "limit"})}
	return m, registry.Register(m.rejected)
}
