package iplimit

import "github.com/prometheus/client_golang/prometheus"

// Metrics count rejections. They have no label for the address, because clients could create any number of series.
type Metrics struct{ rejected *prometheus.CounterVec }

// NewMetrics creates the counter and registers it.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_requests_rejected_total",
		Help: "Connections and requests that were rejected because an address exceeded a limit, by port and limit."},
		[]string{"port", "limit"})}
	return m, registry.Register(m.rejected)
}
