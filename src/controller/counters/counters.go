package counters

import "github.com/prometheus/client_golang/prometheus"

// Counters are those of syncs, and of the ones that failed. No label holds text of an object or of an error.
type Counters struct {
	total, failed *prometheus.CounterVec
}

// The label values: which operation, on which side.
const (
	operationAdd    = "add"
	operationUpdate = "update"
	operationSync   = "sync"
	objectResource  = "AzureKeyVaultSecret"
	objectVault     = "AzureKeyVault"
)

// New makes the counters and registers them.
func New(registry prometheus.Registerer) (*Counters, error) {
	labels := []string{"operation", "object"}
	c := &Counters{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_total", Help: "Syncs of AzureKeyVaultSecrets and looks at the vault.",
		}, labels),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_failed_total", Help: "Of these, the ones that failed.",
		}, labels),
	}
	for _, vector := range []prometheus.Collector{c.total, c.failed} {
		if err := registry.Register(vector); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Looked counts a look at the vault.
func (c *Counters) Looked(err error) { c.count(operationUpdate, objectVault, err) }

// Synced counts a sync of a resource; first says that it was never synced before.
func (c *Counters) Synced(first bool, err error) {
	if first {
		c.count(operationAdd, objectResource, err)
		return
	}
	c.count(operationUpdate, objectResource, err)
}

func (c *Counters) count(operation, object string, err error) {
	c.total.WithLabelValues(operation, object).Inc()
	if err != nil {
		c.failed.WithLabelValues(operationSync, object).Inc()
	}
}
