//go:build cluster

package e2e

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// nothingIsWritten watches the audit log for three intervals.
func nothingIsWritten(t *testing.T) {
	if !s.Audited() {
		t.Skip(stage.NoAudit)
	}
	tm := newTeam(t)
	tm.resource("db", "db", "database")
	tm.awaitValue("database", canary+"-db", patience)
	tm.awaitReason("db", "Synced")
	time.Sleep(2 * time.Second) // events are sent a moment later
	calls, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	audit, err := s.AuditFromNow()
	require.NoError(t, err)
	time.Sleep(3*interval*time.Second + time.Second)
	entries, err := audit.Entries()
	require.NoError(t, err)
	after, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after-calls, 3, "the vault was looked at in each interval")
	for _, e := range entries {
		if e.By("akv2k8s") && e.Writes() && e.ObjectRef.Resource != "leases" && e.ObjectRef.Resource != "tokenreviews" {
			t.Errorf("%s: %s %s %s/%s %s", e.User.Username, e.Verb, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.ObjectRef.Subresource)
		}
	}
}

// admissions counts what the API server says of calls to our webhook.
func admissions(t *testing.T) int {
	t.Helper()
	content, err := s.Kube.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	count := 0
	for _, m := range regexp.MustCompile(`(?m)^apiserver_admission_webhook_request_total\{[^}]*name="pods\.env-injector[^}]*\} (\d+)$`).FindAllStringSubmatch(string(content), -1) {
		var n int
		require.NoError(t, json.Unmarshal([]byte(m[1]), &n))
		count += n
	}
	return count
}

func plainPodsDoNotCall(t *testing.T) {
	tm := newTeam(t)
	before := admissions(t)
	plain := tm.create(tm.pod("plain", map[string]string{"A": "text"}, "true"))
	assert.Empty(t, plain.Spec.InitContainers)
	assert.Equal(t, before, admissions(t), "the API server did not call for a pod without references")
	optedOut := tm.pod("opted-out", map[string]string{"A": "db@azurekeyvault"}, "true")
	optedOut.Labels = map[string]string{"akv2k8s.io/inject": "false"}
	assert.Empty(t, tm.create(optedOut).Spec.InitContainers)
	assert.Equal(t, before, admissions(t))
	tm.resource("db", "db", "")
	tm.create(tm.pod("referring", map[string]string{"A": "db@azurekeyvault"}, "true"))
	assert.Equal(t, before+1, admissions(t), "the witness counts")
}
