package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// maxVaults bounds the series: users name vaults, also ones that do not exist.
const maxVaults = 500

// Vaults measures calls of vaults and what became of reads. It is a prometheus.Collector, and safe for concurrent use.
type Vaults struct {
	calls, waits *prometheus.HistogramVec
	reads        *prometheus.CounterVec
	detection    *prometheus.GaugeVec
	log          logr.Logger
	mu           sync.Mutex
	known        map[string]bool
}

// NewVaults makes the metrics; they are registered by whoever serves them.
func NewVaults(log logr.Logger) *Vaults {
	return &Vaults{known: map[string]bool{}, log: log,
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "akv2k8s_vault_request_duration_seconds",
			Help:    "Calls of vaults, by the vault's name, what was asked for, and the HTTP status that it answered (none if it did not).",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "kind", "code"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "akv2k8s_vault_wait_duration_seconds",
			Help:    "How long calls of vaults waited for their turn below the limits, by priority (pod-start, first-sync, refresh).",
			Buckets: []float64{0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "priority"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_vault_reads_total",
			Help: "Reads of objects, by kind, where the answer came from (vault, shared, memory, list) and what it was (ok, or the reason of the failure).",
		}, []string{"vault", "kind", "source", "outcome"}),
		detection: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "akv2k8s_vault_change_detection",
			Help: "How changes in vaults are found: by the vault's list, or by get of each object; the number of identities that do so.",
		}, []string{"vault", "kind", "method"}),
	}
}

func (v *Vaults) all() []prometheus.Collector {
	return []prometheus.Collector{v.calls, v.waits, v.reads, v.detection}
}

// Describe implements prometheus.Collector.
func (v *Vaults) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range v.all() {
		c.Describe(descriptions)
	}
}

// Collect implements prometheus.Collector.
func (v *Vaults) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range v.all() {
		c.Collect(metrics)
	}
}

// Called counts a call; status 0 means that there was no answer. Beyond 500 vaults the rest share the name "other".
func (v *Vaults) Called(vault string, kind keyvault.Kind, status int, took time.Duration) {
	code := "none"
	if status > 0 {
		code = strconv.Itoa(status)
	}
	v.calls.WithLabelValues(v.label(vault), string(kind), code).Observe(took.Seconds())
}

// Waited counts the wait of a call for its turn.
func (v *Vaults) Waited(vault string, p keyvault.Priority, waited time.Duration) {
	v.waits.WithLabelValues(v.label(vault), p.String()).Observe(waited.Seconds())
}

// Answered counts a read.
func (v *Vaults) Answered(ref keyvault.Ref, from string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).Reason()
	}
	v.reads.WithLabelValues(v.label(ref.Vault), string(ref.Kind), from, outcome).Inc()
}

// Detects tells how changes are found.
func (v *Vaults) Detects(list keyvault.Ref, was, is string) {
	method := func(name string) prometheus.Gauge {
		return v.detection.WithLabelValues(v.label(list.Vault), string(list.Kind.Listed()), name)
	}
	if was != "" {
		method(was).Dec()
	}
	method(is).Inc()
}

// Refused tells that a list can't be had.
func (v *Vaults) Refused(list keyvault.Ref, err error, wait time.Duration) {
	v.log.Info("changes are found by reading each object, because the vault's list can't be had; that is more calls, and works as well", "list", list.String(),
		"error", err.Error(), "askedAgainIn", wait.String())
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
