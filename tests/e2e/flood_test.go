//go:build cluster

package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// flood opens far more connections to a replica than an address may have, and asks far more often, and creates and
// starts pods meanwhile. It is done through the kubelet, which gives it an address of its own.
func flood(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	replica := replicas(t, "akv2k8s-webhook")[0].Name
	address := forward(t, replica, 8443)
	// The attack does not depend on which replica answers, so its certificate is not checked.
	hostile := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	codes := map[int]int{}
	for range 3000 {
		response, err := hostile.Post("https://"+address+"/pods", "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		codes[response.StatusCode]++
	}
	t.Logf("a flood of requests was answered so: %v", codes)
	for range 700 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
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
	refused := 0
	for _, m := range regexp.MustCompile(`(?m)^akv2k8s_requests_rejected_total\{limit="connections",port="webhook"\} (\d+)$`).FindAllStringSubmatch(metricsOf(t, "akv2k8s-webhook"), -1) {
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		refused += n
	}
	assert.Greater(t, refused, 20, "what was too much was refused")
}
