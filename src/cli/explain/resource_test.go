package explain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/cli/explain"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const synced = `apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: synced, namespace: team, uid: "1-2", annotations: {akv2k8s.io/refresh: two}}
spec:
  vault: {name: shop-vault}
  data: [{object: {name: a, type: secret, version: abc}, dataKey: a}, {object: {name: b, type: key}, dataKey: b}]
  dataFrom: [{match: {prefix: x}}]
  refreshInterval: 10m
  output: {secret: {name: out}, configMap: {name: out}}
  rolloutRestart: {workloads: [{kind: Deployment, name: waits}, {kind: Deployment, name: allowed}, {kind: StatefulSet, name: silent}, {kind: DaemonSet, name: none}]}
status:
  syncedBy: akv2k8s/akv2k8s
  refresh: one
  pendingRestart: {changedAt: "2026-05-31T00:00:00Z"}
  workloads: [{kind: Deployment, name: waits, version: "7", pending: it is paused}, {kind: Deployment, name: done, version: "8"}]
  moreWorkloads: 2
  conditions:
  - {type: Ready, status: "True", reason: Synced, message: it holds two objects, lastTransitionTime: "2026-05-01T00:00:00Z"}
  - {type: Stale, status: "False", reason: Synced, lastTransitionTime: "2026-05-01T00:00:00Z"}
  - {type: Contested, status: "True", reason: SeveralInstallations, message: a/b syncs it too, lastTransitionTime: "2026-05-01T00:00:00Z"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: allowed, namespace: team, annotations: {akv2k8s.io/restart: "true"}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: silent, namespace: team}`

func key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "team", Name: name}
}

// apply writes a Secret with one key by a field manager.
func (c *cluster) apply(t *testing.T, manager, dataKey string, annotations map[string]string, owners ...*metav1ac.OwnerReferenceApplyConfiguration) {
	t.Helper()
	secret := corev1ac.Secret("out", "team").WithData(map[string][]byte{dataKey: []byte("output-canary")}).WithAnnotations(annotations).WithOwnerReferences(owners...)
	require.NoError(t, c.Apply(t.Context(), secret, client.FieldOwner(manager)))
}

func TestAResourceIsExplained(t *testing.T) {
	c := newCluster(t, installation, synced)
	other := metav1ac.OwnerReference().WithAPIVersion("spv.no/v2beta1").WithKind(wire.Kind).WithName("other").WithUID("3")
	c.apply(t, "akv2k8s-1-2", "a", map[string]string{"keys.akv2k8s.io/1-2": "synced: a", "keys.akv2k8s.io/4": "fourth: d"})
	c.apply(t, "akv2k8s-3", "c", nil, other)
	c.apply(t, "akv2k8s-4", "d", nil)
	c.apply(t, "akv2k8s-5", "e", nil)
	c.apply(t, "kubectl", "f", map[string]string{"note": "annotation-canary"})
	c.apply(t, wire.V1FieldManager, "g", nil)
	r, err := c.explainer().Resource(t.Context(), key("synced"))
	require.NoError(t, err)
	assert.Equal(t, []explain.Object{{Name: "a", Type: "secret", Version: "abc", DataKey: "a"}, {Name: "b", Type: "key", DataKey: "b"}}, r.Objects)
	assert.Equal(t, "every 10m0s (spec.refreshInterval)", r.Refresh)
	require.NotNil(t, r.NextRefresh)
	assert.WithinRange(t, r.NextRefresh.Time, now(), now().Add(10*time.Minute))
	require.Len(t, r.Outputs, 2)
	assert.Equal(t, explain.Output{Kind: "Secret", Name: "out", State: "also holds data of others, so deleting this resource keeps it", Keys: []explain.Key{
		{Name: "a", Writers: []string{"this resource"}}, {Name: "c", Writers: []string{`AzureKeyVaultSecret "other"`}},
		{Name: "d", Writers: []string{`AzureKeyVaultSecret "fourth"`}}, {Name: "e", Writers: []string{"an AzureKeyVaultSecret with uid 5"}},
		{Name: "f", Writers: []string{"kubectl"}}, {Name: "g", Writers: []string{"akv2k8s 1.8"}}}}, r.Outputs[0])
	assert.Equal(t, explain.Output{Kind: "ConfigMap", Name: "out", State: "does not exist"}, r.Outputs[1])
	require.NotNil(t, r.Restarts)
	assert.Equal(t, "the named workloads", r.Restarts.Selects)
	assert.Equal(t, []explain.Workload{{Kind: "Deployment", Name: "waits", Version: "7", State: "it is paused"}, {Kind: "Deployment", Name: "done", Version: "8", State: "up to date"},
		{Kind: "Deployment", Name: "allowed", State: "is restarted after the next change"},
		{Kind: "StatefulSet", Name: "silent", State: "is not restarted: it has no annotation akv2k8s.io/restart"},
		{Kind: "DaemonSet", Name: "none", State: "does not exist"}}, r.Restarts.Workloads)
	assert.Equal(t, []string{
		"error akvs/synced: two installations sync it | a/b syncs it too | let only one of them watch the namespace, or give each its own labels (controller.env.OBJECT_LABELS)",
		"warning akvs/synced: a requested refresh has no answer yet | the annotation akv2k8s.io/refresh is not the same as status.refresh | wait, or see why the controller does not read the vault",
		`error configmap/out: it does not exist | the resource is ready, so something deleted it | find out what deletes it in the audit log; 'kubectl akv2k8s refresh synced' creates it again`,
		`warning deployment/waits: it has not been restarted | it is paused | see docs/troubleshooting.md, 'A workload was not restarted'`,
		`warning statefulset/silent: it does not allow restarts | it has no annotation akv2k8s.io/restart: "true" | add the annotation, also in the manifest of the workload | kubectl -n team annotate statefulset silent akv2k8s.io/restart=true`,
		`warning daemonset/none: spec.rolloutRestart names it, but it does not exist |  | correct spec.rolloutRestart.workloads`}, whats(r.Findings))
	var text strings.Builder
	require.NoError(t, r.WriteText(&text))
	for _, want := range []string{"AzureKeyVaultSecret team/synced\n", "secret a, version abc, data key a\n", "Searches:       1, for further objects", "Synced by:      akv2k8s/akv2k8s",
		"Contested:   True (SeveralInstallations) since 2026-05-01T00:00:00Z: a/b syncs it too", "Output Secret out: also holds", "c:   written by AzureKeyVaultSecret \"other\"",
		"Pending for the change at 2026-05-31T00:00:00Z", "Deployment waits:     it is paused (version 7)", "  and 2 more", "FAIL  akvs/synced: two installations sync it\n      check: one installation syncs the resource\n      why: a/b syncs it too\n      try: let only"} {
		assert.Contains(t, text.String(), want)
	}
	assert.NotContains(t, text.String(), "canary")
	assert.NotContains(t, c.reads, "Secret/out", "only its metadata")
}

func TestOutputsOfOneOwnerAndOfNone(t *testing.T) {
	c := newCluster(t, installation, synced)
	c.apply(t, "akv2k8s-1-2", "a", nil)
	r, err := c.explainer().Resource(t.Context(), key("synced"))
	require.NoError(t, err)
	assert.Equal(t, "belongs to akv2k8s alone", r.Outputs[0].State)

	c = newCluster(t, installation, synced)
	require.NoError(t, c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "out"}, Data: map[string][]byte{"x": nil}}))
	r, err = c.explainer().Resource(t.Context(), key("synced"))
	require.NoError(t, err)
	assert.Equal(t, "exists, but this resource writes none of its keys", r.Outputs[0].State)
	c.forbidden = []string{"Secret", "Deployment"}
	r, err = c.explainer().Resource(t.Context(), key("synced"))
	require.NoError(t, err)
	assert.Equal(t, "not known: you may not read its metadata", r.Outputs[0].State)
	assert.Equal(t, "not known: you may not read it", r.Restarts.Workloads[2].State)
}

func TestResourcesThatAreNotReady(t *testing.T) {
	c := newCluster(t, installation, resources)
	for name, want := range map[string]struct{ finding, refresh string }{
		"denied":   {"it is not ready: AccessDenied | the vault denied it | do what the message says; the controller retries within 5 minutes", "at the interval of the installation"},
		"away":     {"it is not ready: VaultUnavailable | the vault does not answer | wait: the controller retries", "after a failure it is retried earlier"},
		"conflict": {"it is not ready: TargetConflict | it has an owner | do what the message says, and then run", ""},
		"invalid":  {"its spec is not valid | spec.vault.name", "not before the spec is changed"},
		"several":  {"error akvs/several: no controller has read it | its status has no condition Ready | see whether its pods run", ""},
		"db":       {`warning akvs/db: its vault object expired at`, ""},
	} {
		r, err := c.explainer().Resource(t.Context(), key(name))
		require.NoError(t, err)
		assert.Contains(t, strings.Join(whats(r.Findings), "\n"), want.finding, name)
		assert.Contains(t, r.Refresh, want.refresh, name)
		assert.NotContains(t, strings.Join(whats(r.Findings), "\n"), "does not exist", "that the output of %s is missing is an effect", name)
	}
	_, err := c.explainer().Resource(t.Context(), key("none"))
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	c.forbidden = []string{"AzureKeyVaultSecret"}
	_, err = c.explainer().Resource(t.Context(), key("db"))
	assert.Error(t, err)
}

func TestFurtherFailuresAndSelections(t *testing.T) {
	const form = `apiVersion: spv.no/v2beta1
kind: AzureKeyVaultSecret
metadata: {name: one, namespace: team}
spec: {vault: {name: shop-vault, object: {name: a, type: secret}}, refreshInterval: 0, rolloutRestart: RESTART}
status: {conditions: [{type: Ready, status: "False", reason: REASON, message: m}, {type: ExpiringSoon, status: "True", reason: Expiring}], expires: "2026-06-03T00:00:00Z"}`
	for _, try := range []struct{ restart, reason, selects, advice string }{
		{"{auto: true}", "InvalidSpec", "workloads whose pods use the output or refer to the resource (auto); which ones they are is known after the next change", "change the spec"},
		{"{selector: {matchLabels: {a: b}}}", "InternalError", "workloads with the labels of the selector; which", "see the log of the controller"},
		{"{selector: {matchLabels: {a: b}}, workloads: [{kind: Deployment, name: x}]}", "ObjectNotFound", "the named workloads, and those with the labels of the selector", "kubectl akv2k8s refresh"},
	} {
		c := newCluster(t, installation, strings.NewReplacer("RESTART", try.restart, "REASON", try.reason).Replace(form))
		r, err := c.explainer().Resource(t.Context(), key("one"))
		require.NoError(t, err)
		assert.Contains(t, r.Restarts.Selects, try.selects)
		all := strings.Join(whats(r.Findings), "\n")
		assert.Contains(t, all, try.advice)
		assert.Contains(t, all, `akvs/one: its vault object expires at 2026-06-03T00:00:00Z`)
		assert.Contains(t, r.Refresh, "once (spec.refreshInterval: 0)")
		assert.Equal(t, "m", r.LastError)
	}
}

func TestTheTextOfAPod(t *testing.T) {
	c := newCluster(t, installation, resources)
	pod := injectPod(t, podWith(`{name: KEY, value: "web@azurekeyvault?tls.key"}, {name: DB, value: db@azurekeyvault},`), inject.Settings{}, nil)
	p, err := c.explainer().Pod(t.Context(), pod)
	require.NoError(t, err)
	p.Notes = []string{"a note"}
	var text strings.Builder
	require.NoError(t, p.WriteText(&text))
	for _, want := range []string{"Pod team/p\n", "Container app\n", "  KEY = web@azurekeyvault?tls.key\n", "Vault object:   certificate shop-vault/web/abc, part tls.key\n",
		"Version:        1, changed 2026-05-01T00:00:00Z, expires 2026-05-31T00:00:00Z\n", "Since:     2026-05-10T00:00:00Z\n", "Container proxy: no references\n", "Note: a note\n", "\nFindings\nWARN  akvs/db: its vault object expired", "\n      try: "} {
		assert.Contains(t, text.String(), want)
	}
	p.Findings = nil
	text.Reset()
	require.NoError(t, p.WriteText(&text))
	assert.True(t, strings.HasSuffix(text.String(), "\nNothing is wrong.\n"))
	assert.Error(t, p.WriteText(brokenWriter{}))
}

// brokenWriter fails.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, assert.AnError }
