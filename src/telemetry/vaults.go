package telemetry

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// others is the label of vaults without a label of their own: vaults that never answered, because users can name vaults
// that do not exist, and vaults beyond limits.MetricVaults.
const others = "other"

// forgotten is the time after a vault's last answer when its series can be replaced by those of another vault.
const forgotten = time.Hour

// Vaults collects the metrics of calls and reads of vaults. It is a prometheus.Collector, and safe for concurrent use.
type Vaults struct {
	calls, waits *prometheus.HistogramVec
	reads        *prometheus.CounterVec
	detection    *prometheus.GaugeVec
	log          logr.Logger
	clock        func() time.Time

	mu sync.Mutex
	// known is the time of the last answer by vault.
	known map[string]time.Time
	// lists is the number of lists by vault, kind and method.
	lists map[listMethod]int
}

// listMethod is the method by which changes of one kind of object in a vault are found: list or get.
type listMethod struct {
	vault  string
	kind   keyvault.Kind
	method string
}

// NewVaults creates the metrics. The caller registers them.
func NewVaults(log logr.Logger) *Vaults {
	return &Vaults{known: map[string]time.Time{}, lists: map[listMethod]int{}, log: log, clock: time.Now,
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "akv2k8s_vault_request_duration_seconds",
			Help: "Duration of calls of vaults, by vault name, kind of object, and HTTP status of the answer " +
				"(none without an answer).",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "kind", "code"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "akv2k8s_vault_wait_duration_seconds",
			Help: "Time that calls of vaults waited for the rate limiter, by priority (pod-start, first-sync, " +
				"refresh).",
			Buckets: []float64{0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "priority"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_vault_reads_total",
			Help: "Reads of objects, by kind, source of the answer (vault, shared, memory, list) and outcome " +
				"(ok, or the reason of the failure).",
		}, []string{"vault", "kind", "source", "outcome"}),
		detection: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "akv2k8s_vault_change_detection",
			Help: "Number of identities by the method that finds changes in a vault: list of the vault, or get of " +
				"each object.",
		}, []string{"vault", "kind", "method"}),
	}
}

// UseClock replaces the machine's clock. Call it before anything is measured.
func (v *Vaults) UseClock(clock func() time.Time) { v.clock = clock }

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

// Called records a call. Status 0 means that there was no answer. The first answer gives the vault its own label.
func (v *Vaults) Called(vault string, kind keyvault.Kind, status int, took time.Duration) {
	code := "none"
	if status > 0 {
		code = strconv.Itoa(status)
		v.admit(vault)
	}
	v.calls.WithLabelValues(v.label(vault), string(kind), code).Observe(took.Seconds())
}

// Waited records how long a call waited for the rate limiter.
func (v *Vaults) Waited(vault string, p keyvault.Priority, waited time.Duration) {
	v.waits.WithLabelValues(v.label(vault), p.String()).Observe(waited.Seconds())
}

// Answered records a read and its outcome.
func (v *Vaults) Answered(ref keyvault.Ref, from string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).Reason()
	}
	v.reads.WithLabelValues(v.label(ref.Vault), string(ref.Kind), from, outcome).Inc()
}

// Detects records the method by which changes in a list are found: list or get. was is the previous method; empty at
// first.
func (v *Vaults) Detects(list keyvault.Ref, was, is string) {
	vault := v.label(list.Vault)
	v.mu.Lock()
	defer v.mu.Unlock()
	count := func(method string, change int) {
		at := listMethod{vault, list.Kind.Listed(), method}
		v.lists[at] = max(0, v.lists[at]+change) // it was counted before the vault had a label
		v.detection.WithLabelValues(vault, string(at.kind), method).Set(float64(v.lists[at]))
	}
	if was != "" {
		count(was, -1)
	}
	count(is, 1)
}

// Refused logs that a vault rejects a list, and that it is requested again after wait.
func (v *Vaults) Refused(list keyvault.Ref, err error, wait time.Duration) {
	v.log.Info("the vault rejects the list, so changes are found by reading each object; that needs more calls, and "+
		"syncs the same", "list", list.String(),
		"error", err.Error(), "askedAgainIn", wait.String())
}

// admit gives a vault that answered its own label. At the limit, it replaces the vault whose last answer is the oldest,
// if that is older than forgotten.
func (v *Vaults) admit(vault string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock()
	if _, ok := v.known[vault]; !ok && len(v.known) >= limits.MetricVaults {
		oldest := ""
		for name, at := range v.known {
			if oldest == "" || at.Before(v.known[oldest]) {
				oldest = name
			}
		}
		if now.Sub(v.known[oldest]) < forgotten {
			return
		}
		v.forget(oldest)
	}
	v.known[vault] = now
}

// forget drops the series of a vault; the caller holds mu.
func (v *Vaults) forget(vault string) {
	delete(v.known, vault)
	maps.DeleteFunc(v.lists, func(at listMethod, _ int) bool { return at.vault == vault })
	labels := prometheus.Labels{"vault": vault}
	v.calls.DeletePartialMatch(labels)
	v.waits.DeletePartialMatch(labels)
	v.reads.DeletePartialMatch(labels)
	v.detection.DeletePartialMatch(labels)
}

// label returns the label of a vault: its name, or others.
func (v *Vaults) label(vault string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.known[vault]; ok {
		return vault
	}
	return others
}
