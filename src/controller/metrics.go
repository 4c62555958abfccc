package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
)

// Metrics are the predecessor's counters, with its label values. No label holds text of an object or of an error.
type Metrics struct {
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

// NewMetrics makes the counters and registers them.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	labels := []string{"operation", "object"}
	m := &Metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_total", Help: "Syncs of AzureKeyVaultSecrets and looks at the vault.",
		}, labels),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "akv2k8s_syncs_failed_total", Help: "Of these, the ones that failed.",
		}, labels),
	}
	for _, c := range []prometheus.Collector{m.total, m.failed} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// fetched counts a look at the vault.
func (m *Metrics) fetched(err error) {
	m.total.WithLabelValues(operationUpdate, objectVault).Inc()
	if err != nil {
		m.failed.WithLabelValues(operationSync, objectVault).Inc()
	}
}

// synced counts a sync of a resource.
func (m *Metrics) synced(resource *v2beta1.AzureKeyVaultSecret, o outcome) {
	operation := operationUpdate
	if resource.Status.LastAzureUpdate == nil {
		operation = operationAdd
	}
	m.total.WithLabelValues(operation, objectResource).Inc()
	if o.err != nil {
		m.failed.WithLabelValues(operationSync, objectResource).Inc()
	}
}
