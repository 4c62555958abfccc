//go:build cluster

package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/emulator/keyvault"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// oneLook wants one look at the vault: neither time nor a new leader brings another one.
func oneLook(t *testing.T) {
	tm := newTeam(t)
	tm.want("once", `{vault: {object: {name: db, type: secret}}, refreshInterval: 0, output: {secret: {name: once, dataKey: password}}}`)
	tm.awaitValue("once", canary+"-db", patience)
	tm.awaitReason("once", "Synced")
	require.NoError(t, s.Azure.Put(t.Context(), tm.vault, "db", canary+"-db-2"))
	calls, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	require.NoError(t, s.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace("akv2k8s"), client.MatchingLabels{"app.kubernetes.io/component": "akv2k8s-controller"}))

	// The new leader works, as another resource shows, and has come to this one.
	t.Run("the new leader works", func(t *testing.T) {
		other := newTeam(t)
		other.resource("db", "db", "database")
		other.awaitValue("database", canary+"-db", patience)
	})
	time.Sleep(2 * interval * time.Second)
	after, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	assert.Equal(t, calls, after)
	assert.Equal(t, canary+"-db", tm.value(t.Context(), "once"))

	// The value is nowhere but in the vault, so a Secret that is gone is made of what is there now.
	secret := tm.holds("once", "password")
	require.NoError(t, s.Client.Delete(t.Context(), secret))
	tm.awaitValue("once", canary+"-db-2", patience)
}

// metricsOf reads the metrics of the installation's pods of a component, through the API server.
func metricsOf(t *testing.T, component string) string {
	t.Helper()
	all, port := "", ":9000"
	if component == "akv2k8s-webhook" {
		port = ":8080"
	}
	for _, pod := range replicas(t, component) {
		content, err := s.Kube.CoreV1().RESTClient().Get().Namespace("akv2k8s").Resource("pods").Name(pod.Name+port).SubResource("proxy", "metrics").DoRaw(t.Context())
		require.NoError(t, err)
		all += string(content)
	}
	return all
}

// conditionsAndMetrics say what is old, and what expires.
func conditionsAndMetrics(t *testing.T) {
	tm := newTeam(t)
	soon := time.Now().Add(100 * time.Hour).UTC().Truncate(time.Second)
	require.NoError(t, s.Azure.PutSecret(t.Context(), tm.vault, "short", keyvault.Secret{Value: canary + "-short", Expires: soon}))
	tm.resource("short", "short", "short")
	tm.awaitValue("short", canary+"-short", patience)
	tm.awaitReason("short", "Synced")
	assert.Equal(t, "True", tm.conditions("short")["ExpiringSoon"])
	assert.Equal(t, "False", tm.conditions("short")["Stale"])
	require.NoError(t, s.Azure.Act(t.Context(), tm.vault, "short", "disable"))
	tm.awaitReason("short", "ObjectDisabled")
	assert.Equal(t, "True", tm.conditions("short")["Stale"])
	id, metrics := `name="short",namespace="`+tm.namespace+`"`, ""
	require.NoError(t, stage.Await(t.Context(), patience, "the metrics, which follow what the controller sees of its own writes", func(context.Context) error {
		if metrics = metricsOf(t, "akv2k8s-controller"); !strings.Contains(metrics, "akv2k8s_resource_ready{"+id+"} 0") {
			return errors.New("the resource is counted as ready")
		}
		return nil
	}))
	assert.Contains(t, metrics, "akv2k8s_resource_last_success_timestamp_seconds{"+id+"} ")
	assert.Contains(t, metrics, "akv2k8s_resource_expiry_timestamp_seconds{"+id+"} ")
	assert.Contains(t, metrics, `akv2k8s_vault_request_duration_seconds_count{code="200",kind="secret",vault="`+tm.vault+`"} `)
	assert.Contains(t, metrics, `akv2k8s_vault_request_duration_seconds_count{code="403",kind="secret",vault="`+tm.vault+`"} `)
}
