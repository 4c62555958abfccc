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
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// otherVaultsLabel is the label of vaults without a label of their own: vaults that never answered, because users can
// name vaults that do not exist, and vaults beyond limits.MetricVaults.
const otherVaultsLabel = "other"

// vaultSeriesAge is the time after a vault's last answer when its series can be replaced by those of another vault.
const vaultSeriesAge = time.Hour

// VaultMetrics collects the metrics of calls and reads of vaults. It is a prometheus.Collector, and safe for concurrent
// use.
type VaultMetrics struct {
	calls, waits *prometheus.HistogramVec
	reads        *prometheus.CounterVec
	detection    *prometheus.GaugeVec
	log          logr.Logger
	clock        func() time.Time

	mu sync.Mutex
	// lastAnswers is the time of the last answer by vault.
	lastAnswers map[string]time.Time
	// listsByMethod is the number of lists by vault, kind and method.
	listsByMethod map[listMethod]int
}

// listMethod is the method by which changes of one kind of object in a vault are found: list or get.
type listMethod struct {
	vault  string
	kind   keyvault.Kind
	method string
}

// NewVaultMetrics creates the metrics. The caller registers them.
func NewVaultMetrics(log logr.Logger) *VaultMetrics {
	return &VaultMetrics{lastAnswers: map[string]time.Time{}, listsByMethod: map[listMethod]int{}, log: log,
		clock: time.Now,
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
func (v *VaultMetrics) UseClock(clock func() time.Time) { v.clock = clock }

func (v *VaultMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{v.calls, v.waits, v.reads, v.detection}
}

// Describe implements prometheus.Collector.
func (v *VaultMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range v.collectors() {
		c.Describe(descriptions)
	}
}

// Collect implements prometheus.Collector.
func (v *VaultMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range v.collectors() {
		c.Collect(metrics)
	}
}

// RecordCall records a call. Status 0 means that there was no answer. The first answer gives the vault its own label.
func (v *VaultMetrics) RecordCall(vault string, kind keyvault.Kind, status int, took time.Duration) {
	code := "none"
	if status > 0 {
		code = strconv.Itoa(status)
		v.assignVaultLabel(vault)
	}
	v.calls.WithLabelValues(v.vaultLabel(vault), string(kind), code).Observe(took.Seconds())
}

// RecordWait records how long a call waited for the rate limiter.
func (v *VaultMetrics) RecordWait(vault string, p keyvault.Priority, waited time.Duration) {
	v.waits.WithLabelValues(v.vaultLabel(vault), p.String()).Observe(waited.Seconds())
}

// RecordRead records a read and its outcome.
func (v *VaultMetrics) RecordRead(ref keyvault.Ref, from string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = fault.KindOf(err).Reason()
	}
	v.reads.WithLabelValues(v.vaultLabel(ref.Vault), string(ref.Kind), from, outcome).Inc()
}

// RecordChangeDetection records the method by which changes in a list are found: list or get. was is the previous
// method; empty at first.
func (v *VaultMetrics) RecordChangeDetection(list keyvault.Ref, was, is string) {
	vault := v.vaultLabel(list.Vault)
	v.mu.Lock()
	defer v.mu.Unlock()
	count := func(method string, change int) {
		at := listMethod{vault, list.Kind.ItemKind(), method}
		v.listsByMethod[at] = max(0, v.listsByMethod[at]+change) // it was counted before the vault had a label
		v.detection.WithLabelValues(vault, string(at.kind), method).Set(float64(v.listsByMethod[at]))
	}
	if was != "" {
		count(was, -1)
	}
	count(is, 1)
}

// RecordListUnavailable logs that a vault rejects a list, and that it is requested again after wait.
func (v *VaultMetrics) RecordListUnavailable(list keyvault.Ref, err error, wait time.Duration) {
	v.log.Info("the vault rejects the list, so changes are found by reading each object; that needs more calls, and "+
		"syncs the same", logkey.List, list.String(), logkey.Error, err.Error(), logkey.RetryIn, wait.String())
}

// assignVaultLabel gives a vault that answered its own label. At the limit, it replaces the vault whose last answer is
// the oldest, if that is older than forgotten.
func (v *VaultMetrics) assignVaultLabel(vault string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock()
	if _, ok := v.lastAnswers[vault]; !ok && len(v.lastAnswers) >= limits.MetricVaults {
		oldest := ""
		for name, at := range v.lastAnswers {
			if oldest == "" || at.Before(v.lastAnswers[oldest]) {
				oldest = name
			}
		}
		if now.Sub(v.lastAnswers[oldest]) < vaultSeriesAge {
			return
		}
		v.forgetVault(oldest)
	}
	v.lastAnswers[vault] = now
}

// forgetVault drops the series of a vault; the caller holds mu.
func (v *VaultMetrics) forgetVault(vault string) {
	delete(v.lastAnswers, vault)
	maps.DeleteFunc(v.listsByMethod, func(at listMethod, _ int) bool { return at.vault == vault })
	labels := prometheus.Labels{"vault": vault}
	v.calls.DeletePartialMatch(labels)
	v.waits.DeletePartialMatch(labels)
	v.reads.DeletePartialMatch(labels)
	v.detection.DeletePartialMatch(labels)
}

// vaultLabel returns the label of a vault: its name, or others.
func (v *VaultMetrics) vaultLabel(vault string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.lastAnswers[vault]; ok {
		return vault
	}
	return otherVaultsLabel
}
