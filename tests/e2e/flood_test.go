//go:build cluster

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// flood has a pod open far more connections to both ports than it may, and creates and starts pods meanwhile.
func flood(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	hostile := tm.pod("hostile", nil, "sh", "-c", `for port in 443 9443; do i=0; while [ $i -lt 700 ]; do sleep 25 | nc `+brokerHost+` $port >/dev/null & i=$((i+1)); done; done; echo flooding; sleep 25`)
	tm.create(hostile)
	tm.awaitLog("hostile", "flooding")
	longest := time.Duration(0)
	for i := range 20 {
		started := time.Now()
		require.NoError(t, s.Client.Create(t.Context(), tm.pod(fmt.Sprintf("created-%d", i), map[string]string{"DB": "db@azurekeyvault"}, "true"), client.DryRunAll))
		longest = max(longest, time.Since(started))
	}
	tm.create(tm.pod("starts", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", "echo got ${#DB}"))
	code, log := tm.ended("starts")
	assert.Zero(t, code, log)
	t.Logf("the slowest of 20 admissions took %s", longest)
	assert.Less(t, longest, 5*time.Second)
	for _, port := range []string{"webhook", "auth-service"} {
		refused := 0
		for _, m := range regexp.MustCompile(`(?m)^akv2k8s_too_much_refused_total\{bound="connections",port="`+port+`"\} (\d+)$`).FindAllStringSubmatch(metricsOf(t, "akv2k8s-webhook"), -1) {
			n, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			refused += n
		}
		assert.Greater(t, refused, 50, "most connections to the port %s were refused", port)
	}
}
