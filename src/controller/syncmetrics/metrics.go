package syncmetrics

import "github.com/prometheus/client_golang/prometheus"

// Counters holds the counters of syncs, of failed syncs and of restarts. Labels never contain object text or error
// text.
type Counters struct {
	syncs, failures, restarts *prometheus.CounterVec
}

// The label values: the operation, and the kind of object that it was done on.
const (
	operationAdd    = "add"
	operationUpdate = "update"
	operationSync   = "sync"
	objectResource  = "AzureKeyVaultSecret"
	objectVault     = "AzureKeyVault"
)

// New creates the counters and registers them.
func New(registry prometheus.Registerer) (*Counters, error) {
	labels := []string{"operation", "object"}
	c := &Counters{
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_total", Help: "Syncs of AzureKeyVaultSecrets and reads of the vault.",
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_failed_total", Help: "Failed syncs of AzureKeyVaultSecrets and reads of the vault.",
		}, labels),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_restarts_total",
			Help: "Restarts of workloads for spec.rolloutRestart, by kind of workload and result: restarted, failed " +
				"(and retried), skipped, or unfinished if its pods were not replaced within 15 minutes.",
		}, []string{"kind", "result"}),
	}
	for _, vector := range []prometheus.Collector{c.syncs, c.failures, c.restarts} {
		if err := registry.Register(vector); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// CountVaultRead counts a read of the vault; err is its result.
func (c *Counters) CountVaultRead(err error) { c.countOperation(operationUpdate, objectVault, err) }

// CountSync counts a sync of a resource; err is its result. first is true for a resource that was never synced before.
func (c *Counters) CountSync(first bool, err error) {
	if first {
		c.countOperation(operationAdd, objectResource, err)
		return
	}
	c.countOperation(operationUpdate, objectResource, err)
}

// CountRestart counts the result of restarting a workload of a kind.
func (c *Counters) CountRestart(kind, result string) { c.restarts.WithLabelValues(kind, result).Inc() }

func (c *Counters) countOperation(operation, object string, err error) {
	c.syncs.WithLabelValues(operation, object).Inc()
	if err != nil {
		c.failures.WithLabelValues(operationSync, object).Inc()
	}
}
