//go:build cluster

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// auditEntry is a line of the API server's audit log.
type auditEntry struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ Resource, Namespace, Name, Subresource string }
}

// auditSince reads the audit log from a place, and says where it ends.
func auditSince(t *testing.T, file string, from int64) (entries []auditEntry, end int64) {
	t.Helper()
	log, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = log.Close() }()
	_, err = log.Seek(from, io.SeekStart)
	require.NoError(t, err)
	lines := bufio.NewReader(log)
	for end = from; ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return entries, end // a line that is being written is for the next time
		}
		end += int64(len(line))
		var entry auditEntry
		require.NoError(t, json.Unmarshal(line, &entry))
		entries = append(entries, entry)
	}
}

// nothingIsWritten watches the audit log for three intervals.
func nothingIsWritten(t *testing.T) {
	witness, ok := s.Cluster.(interface{ AuditLog() string })
	if !ok {
		t.Skip("the audit log is the witness, and only the local cluster has one that can be read; use CLUSTER=local")
	}
	tm := newTeam(t)
	tm.resource("db", "db", "database")
	tm.awaitValue("database", canary+"-db", patience)
	tm.awaitReason("db", "Synced")
	time.Sleep(2 * time.Second) // events are sent a moment later
	calls, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	_, from := auditSince(t, witness.AuditLog(), 0)
	time.Sleep(3*interval*time.Second + time.Second)
	entries, _ := auditSince(t, witness.AuditLog(), from)
	after, err := s.Azure.Calls(t.Context(), tm.vault, "get", "200")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after-calls, 3, "the vault was looked at in each interval")
	for _, e := range entries {
		ours := strings.HasPrefix(e.User.Username, "system:serviceaccount:akv2k8s:")
		writes := e.Verb == "create" || e.Verb == "update" || e.Verb == "patch" || e.Verb == "delete"
		if ours && writes && e.ObjectRef.Resource != "leases" && e.ObjectRef.Resource != "tokenreviews" {
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
