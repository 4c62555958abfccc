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

// others is the name of vaults that have none of their own: those that never answered, since users name also ones that
// do not exist, and those beyond limits.MetricVaults.
const others = "other"

// forgotten is how long after its last answer a vault's series give way to another one's.
const forgotten = time.Hour

// Vaults measures calls of vaults and what became of reads. It is a prometheus.Collector, and safe for concurrent use.
type Vaults struct {
	calls, waits *prometheus.HistogramVec
	reads        *prometheus.CounterVec
	detection    *prometheus.GaugeVec
	log          logr.Logger
	clock        func() time.Time

	mu sync.Mutex
	// known is when each vault answered last.
	known map[string]time.Time
	// lists are numbers of lists by vault, kind and method.
	lists map[listMethod]int
}

// listMethod is how changes of a kind of object of a vault are found.
type listMethod struct {
	vault  string
	kind   keyvault.Kind
	method string
}

// NewVaults makes the metrics; they are registered by whoever serves them.
func NewVaults(log logr.Logger) *Vaults {
	return &Vaults{known: map[string]time.Time{}, lists: map[listMethod]int{}, log: log, clock: time.Now,
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "akv2k8s_vault_request_duration_seconds",
			Help: "Calls of vaults, by the vault's name, what was asked for, and the HTTP status that it answered " +
				"(none if it did not).",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "kind", "code"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "akv2k8s_vault_wait_duration_seconds",
			Help: "How long calls of vaults waited for their turn below the limits, by priority (pod-start, " +
				"first-sync, refresh).",
			Buckets: []float64{0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20},
		}, []string{"vault", "priority"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_vault_reads_total",
			Help: "Reads of objects, by kind, where the answer came from (vault, shared, memory, list) and what it " +
				"was (ok, or the reason of the failure).",
		}, []string{"vault", "kind", "source", "outcome"}),
		detection: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "akv2k8s_vault_change_detection",
			Help: "How changes in vaults are found: by the vault's list, or by get of each object; the number of " +
				"identities that do so.",
		}, []string{"vault", "kind", "method"}),
	}
}

// UseClock replaces the machine's clock. It is called before anything is measured.
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

// Called counts a call; status 0 means that there was no answer. A vault has a name of its own once it answered.
func (v *Vaults) Called(vault string, kind keyvault.Kind, status int, took time.Duration) {
	code := "none"
	if status > 0 {
		code = strconv.Itoa(status)
		v.admit(vault)
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
	vault := v.label(list.Vault)
	v.mu.Lock()
	defer v.mu.Unlock()
	count := func(method string, change int) {
		at := listMethod{vault, list.Kind.Listed(), method}
		v.lists[at] = max(0, v.lists[at]+change) // what was counted under another name is not counted here
		v.detection.WithLabelValues(vault, string(at.kind), method).Set(float64(v.lists[at]))
	}
	if was != "" {
		count(was, -1)
	}
	count(is, 1)
}

// Refused tells that a list can't be had.
func (v *Vaults) Refused(list keyvault.Ref, err error, wait time.Duration) {
	v.log.Info("changes are found by reading each object, because the vault's list can't be had; that is more calls, "+
		"and works as well", "list", list.String(),
		"error", err.Error(), "askedAgainIn", wait.String())
}

// admit gives a vault that answered its own name. Where there is no room, the one goes that was silent for longest, if
// that was long enough.
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

func (v *Vaults) label(vault string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.known[vault]; ok {
		return vault
	}
	return others
}
