package telemetry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

func TestAVaultThatIsForgottenLeavesNoSeries(t *testing.T) {
	registry, vaults := prometheus.NewRegistry(), telemetry.NewVaultMetrics(logr.Discard())
	now := time.Now()
	vaults.UseClock(func() time.Time { return now })
	require.NoError(t, registry.Register(vaults))
	names := func() map[string]map[string]bool {
		all := map[string]map[string]bool{}
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			all[family.GetName()] = map[string]bool{}
			for _, metric := range family.Metric {
				for _, label := range metric.Label {
					if label.GetName() == "vault" {
						all[family.GetName()][label.GetValue()] = true
					}
				}
			}
		}
		return all
	}
	use := func(vault string) {
		vaults.RecordCall(vault, keyvault.KindSecret, 200, time.Second)
		vaults.RecordRead(keyvault.Ref{Vault: vault, Kind: keyvault.KindSecret, Name: "o"}, "vault", nil)
		vaults.RecordWait(vault, keyvault.PriorityRefresh, time.Second)
		vaults.RecordChangeDetection(keyvault.Ref{Vault: vault, Kind: keyvault.KindSecretList}, "", "list")
	}
	for i := range 2 * limits.MetricVaults {
		use(fmt.Sprint("kv-", i))
		now = now.Add(2 * time.Hour)
	}
	use(fmt.Sprint("kv-", 2*limits.MetricVaults-1)) // one that is known needs no room
	for family, of := range names() {
		assert.Len(t, of, limits.MetricVaults, family)
		assert.NotContains(t, of, "kv-0", family)
		assert.Contains(t, of, fmt.Sprint("kv-", limits.MetricVaults), "%s: the oldest that has room", family)
	}
	vaults.RecordCall("kv-0", keyvault.KindSecret, 0, time.Second)
	assert.NotContains(t, names()["akv2k8s_vault_request_duration_seconds"], "kv-0", "without an answer it does not come back")
	now = now.Add(2 * time.Hour)
	use("kv-0")
	last := fmt.Sprint("kv-", 2*limits.MetricVaults-2)
	vaults.RecordChangeDetection(keyvault.Ref{Vault: last, Kind: keyvault.KindSecretList}, "", "list")
	assert.InDelta(t, 1, detected(t, registry, "kv-0"), 0, "and it begins anew")
	assert.InDelta(t, 2, detected(t, registry, last), 0, "of others nothing was forgotten")
}

// detected is how many identities find the changes of a vault by its list.
func detected(t *testing.T, registry *prometheus.Registry, vault string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				if family.GetName() == "akv2k8s_vault_change_detection" && label.GetValue() == vault {
					return metric.Gauge.GetValue()
				}
			}
		}
	}
	return -1
}
