package controller

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// The gauges of each resource. They are computed from the controller's memory, so a deleted resource has no gauges, and
// a replica that is not the leader has none either.
var (
	resourceLabels = []string{"namespace", "name"}
	readyGauge     = prometheus.NewDesc("akv2k8s_resource_ready",
		"Whether the AzureKeyVaultSecret's outputs are in sync, or its objects can be read (1), or not (0).",
		resourceLabels, nil)
	successGauge = prometheus.NewDesc("akv2k8s_resource_last_success_timestamp_seconds",
		"When the AzureKeyVaultSecret was last known to be in sync, as Unix time.", resourceLabels, nil)
	expiryGauge = prometheus.NewDesc("akv2k8s_resource_expiry_timestamp_seconds",
		"When the first of the AzureKeyVaultSecret's vault objects expires, as Unix time; absent if none expires.",
		resourceLabels, nil)
	contestedGauge = prometheus.NewDesc("akv2k8s_resources_contested",
		"AzureKeyVaultSecrets that another installation syncs too; see their condition Contested.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *Controller) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyGauge, successGauge, expiryGauge, contestedGauge} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Controller) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, name types.NamespacedName) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, name.Namespace, name.Name)
	}
	contested := 0.0
	for name, r := range c.state.All() {
		if r.Claim.Contested {
			contested++
		}
		if !r.Synced {
			continue
		}
		ready := 0.0
		if r.FailureKind == "" {
			ready = 1
		}
		gauge(readyGauge, ready, name)
		if !r.SucceededAt.IsZero() {
			gauge(successGauge, float64(r.SucceededAt.Unix()), name)
		}
		if !r.ExpiresAt.IsZero() {
			gauge(expiryGauge, float64(r.ExpiresAt.Unix()), name)
		}
	}
	metrics <- prometheus.MustNewConstMetric(contestedGauge, prometheus.GaugeValue, contested)
}
