package gate

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what was refused. There is no label for the address: whoever asks could make any number of series.
type Metrics struct{ refused *prometheus.CounterVec }

// NewMetrics makes the counter and registers it.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "akv2k8s_too_much_refused_total",
		Help: "Connections and requests that were refused because one address asked too much, by port."}, []string{"port", "bound"})}
	return m, registry.Register(m.refused)
}
