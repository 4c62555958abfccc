package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxVaults bounds the series: users name vaults, also ones that do not exist.
const maxVaults = 500

// Vaults measures calls of vaults. It is a prometheus.Collector, and safe for concurrent use.
type Vaults struct {
	*prometheus.HistogramVec
	mu    sync.Mutex
	known map[string]bool
}

// NewVaults makes the histogram; it is registered by whoever serves it.
func NewVaults() *Vaults {
	return &Vaults{known: map[string]bool{}, HistogramVec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "akv2k8s_vault_request_duration_seconds",
		Help:    "Calls of vaults, by the vault's name and the HTTP status that it answered (none if it did not).",
		Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
	}, []string{"vault", "code"})}
}

// Observe counts a call; status 0 means that there was no answer. Beyond 500 vaults the rest share the name "other".
func (v *Vaults) Observe(vault string, status int, took time.Duration) {
	code := "none"
	if status > 0 {
		code = strconv.Itoa(status)
	}
	v.WithLabelValues(v.label(vault), code).Observe(took.Seconds())
}

func (v *Vaults) label(vault string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.known[vault] && len(v.known) >= maxVaults {
		return "other"
	}
	v.known[vault] = true
	return vault
}
