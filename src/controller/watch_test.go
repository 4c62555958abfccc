package controller_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/certificate"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// podsOnly returns a resource without outputs.
func podsOnly(name string) *v2beta1.AzureKeyVaultSecret {
	r := resource(name)
	r.Spec.Output = nil
	return r
}

// watching returns a bench whose controller also reads resources that only pods use, after the time in which the first
// reads are spread.
func watching(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	b := newBench(t, objects...)
	b.controller.WatchInjected = true
	return b
}

// firstRead reconciles the resource db and, if its first read must wait, again at that time.
func (b *bench) firstRead() {
	b.Helper()
	calls := len(b.vault.calls)
	if wait := b.reconcile("db").RequeueAfter; len(b.vault.calls) == calls {
		require.LessOrEqual(b, wait, limits.FirstReadTime)
		b.now = b.now.Add(wait + time.Second).Truncate(time.Second)
		b.reconcile("db")
	}
}

func TestAResourceThatOnlyPodsUseHasItsState(t *testing.T) {
	b := watching(t, podsOnly("db"))
	require.NoError(t, b.registry.Register(b.controller))
	b.vault.expires = b.now.Add(10 * 24 * time.Hour).Truncate(time.Second)
	b.firstRead()
	status := b.status("db")
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.Equal(t, `read version v-of-c of secret "db" of vault "kv1", which only pods use`, b.ready("db").Message)
	assert.Equal(t, metav1.ConditionFalse, meta.FindStatusCondition(status.Conditions, "Stale").Status)
	assert.Equal(t, "Expiring", meta.FindStatusCondition(status.Conditions, "ExpiringSoon").Reason)
	assert.Equal(t, "v-of-c", status.VaultVersion)
	assert.True(t, status.Expires.Time.Equal(b.vault.expires))
	assert.True(t, status.LastAzureUpdate.Time.Equal(b.now.Truncate(time.Second)))
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{64}$`, status.ValueHash)
	assert.Empty(t, status.SecretName+status.SecretHash+status.ConfigMapName+status.ConfigMapHash)
	assert.Equal(t, []string{`Normal Synced read version v-of-c of secret "db" of vault "kv1", which only pods use`}, b.events.events[:1])
	assert.Len(t, b.events.events, 2, "and the one about the expiry")
	assert.NotContains(t, fmt.Sprint(status, b.events.events), canary)
	assert.Equal(t, []string{"status"}, b.writes, "nothing but the status is written")
	var secrets corev1.SecretList
	require.NoError(t, b.client.List(t.Context(), &secrets, client.InNamespace("shop")))
	assert.Empty(t, secrets.Items)
	require.NoError(t, testutil.GatherAndCompare(b.registry, bytes.NewBufferString(`
# HELP akv2k8s_resource_ready Whether the AzureKeyVaultSecret's outputs are in sync, or its objects can be read (1), or not (0).
# TYPE akv2k8s_resource_ready gauge
akv2k8s_resource_ready{name="db",namespace="shop"} 1
`), "akv2k8s_resource_ready"))

	b.now = b.now.Add(30 * time.Second)
	b.reconcile("db")
	assert.Equal(t, status, b.status("db"), "nothing changed, so nothing is written")
	assert.Equal(t, []string{"status"}, b.writes)
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	b.reconcile("db")
	after := b.status("db")
	assert.Equal(t, "v-of-r", after.VaultVersion)
	assert.NotEqual(t, status.ValueHash, after.ValueHash)
	assert.True(t, after.LastAzureUpdate.After(status.LastAzureUpdate.Time))

	b.vault.next, b.now = fault.New(fault.NotFound, "gone"), b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, "ObjectNotFound", b.ready("db").Reason)
	stale := meta.FindStatusCondition(b.status("db").Conditions, "Stale")
	assert.Equal(t, metav1.ConditionTrue, stale.Status)
	assert.Contains(t, stale.Message, "last successful read")
	assert.Equal(t, after.ValueHash, b.status("db").ValueHash, "of the last good read")
}

func TestNothingOfAResourceThatOnlyPodsUseIsReadIfThatIsSwitchedOff(t *testing.T) {
	r := podsOnly("db")
	r.Annotations = map[string]string{"akv2k8s.io/refresh": "now"}
	b := newBench(t, r)
	assert.Zero(t, b.reconcile("db"))
	assert.Empty(t, b.vault.calls)
	assert.Empty(t, b.writes)
	assert.Empty(t, b.status("db"))
}

func TestFirstReadsOfWhatOnlyPodsUseAreSpreadAndComeAfterFirstSyncs(t *testing.T) {
	const many = 1000
	var objects []client.Object
	for i := range many {
		objects = append(objects, podsOnly(fmt.Sprint("r-", i)))
	}
	syncs := resource("syncs")
	b := watching(t, append(objects, syncs)...)
	perMinute, start := map[int]int{}, b.now
	for i := range many {
		result := b.reconcile(fmt.Sprint("r-", i))
		require.NotNil(t, result.Priority)
		assert.Less(t, *result.Priority, handler.LowPriority, "below the priority of first syncs")
		perMinute[int(result.RequeueAfter/time.Minute)]++
	}
	assert.Empty(t, b.vault.calls)
	for minute := range 5 {
		assert.InDelta(t, many/5, perMinute[minute], 60, "minute %d", minute)
	}
	wait := b.reconcile("r-0").RequeueAfter
	b.now = b.now.Add(wait / 2)
	assert.Equal(t, wait-wait/2, b.reconcile("r-0").RequeueAfter, "an event meanwhile does not postpone it")
	b.reconcile("syncs")
	assert.Equal(t, keyvault.PriorityFirstSync, b.vault.purpose.Priority)
	b.now = start.Add(wait)
	b.reconcile("r-0")
	assert.Equal(t, keyvault.PriorityRefresh, b.vault.purpose.Priority, "no output waits for it")
	assert.Len(t, b.vault.calls, 2)

	fresh := podsOnly("fresh")
	fresh.CreationTimestamp = metav1.NewTime(b.now.Add(-time.Second))
	require.NoError(t, b.client.Create(t.Context(), fresh))
	b.reconcile("fresh")
	assert.Equal(t, metav1.ConditionTrue, b.ready("fresh").Status, "its owner is waiting for its state")
	b.change("r-0", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Object.Name = "other" })
	assert.Equal(t, "other", b.vault.calls[len(b.vault.calls)-1].Name, "a changed spec is read at once")
}

func TestReadsOfWhatOnlyPodsUseLeaveReconcilesForOthers(t *testing.T) {
	other := podsOnly("other")
	other.Namespace = "team"
	b := watching(t, podsOnly("a"), podsOnly("b"), resource("syncs"), other)
	b.controller.SetWatchSlots(2)
	b.now = b.now.Add(time.Hour)
	reconcileOther := func() {
		_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(other)})
		require.NoError(t, err)
	}
	reconcileOther()
	for _, name := range []string{"a", "b"} { // determine the times of the first reads
		b.reconcile(name)
	}
	b.now = b.now.Add(limits.FirstReadTime)
	var results []ctrl.Result
	b.vault.meanwhile = func() {
		b.vault.meanwhile = nil
		results = append(results, b.reconcile("b"), b.reconcile("syncs"))
		calls := len(b.vault.calls)
		reconcileOther()
		assert.Len(t, b.vault.calls, calls+1, "one namespace does not use all slots")
	}
	b.reconcile("a")
	require.Len(t, results, 2)
	assert.LessOrEqual(t, results[0].RequeueAfter, 10*time.Second, "it comes back instead of waiting")
	assert.Empty(t, b.status("b").Conditions)
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	b.reconcile("b")
	assert.Equal(t, "Synced", b.ready("b").Reason)
}

func TestEveryTypeOfObjectIsWatched(t *testing.T) {
	public, _ := certificateObjects(t)
	for name, c := range map[string]struct {
		object v2beta1.AzureKeyVaultObject
		value  []byte
		kind   keyvault.Kind
		reason string
	}{
		"a secret":             {v2beta1.AzureKeyVaultObject{Name: "o", Type: "secret"}, []byte(canary), keyvault.KindSecret, "Synced"},
		"an empty secret":      {v2beta1.AzureKeyVaultObject{Name: "o", Type: "secret"}, nil, keyvault.KindSecret, "Synced"},
		"a key":                {v2beta1.AzureKeyVaultObject{Name: "o", Type: "key"}, []byte(`{"kty":"RSA","n":"AAAA"}`), keyvault.KindKey, "Synced"},
		"a certificate":        {v2beta1.AzureKeyVaultObject{Name: "o", Type: "certificate"}, public, keyvault.KindCertificate, "Synced"},
		"a multi-key object":   {v2beta1.AzureKeyVaultObject{Name: "o", Type: "multi-key-value-secret", ContentType: "application/x-json"}, []byte(`{"a:b":"` + canary + `"}`), keyvault.KindSecret, "Synced"},
		"a damaged one":        {v2beta1.AzureKeyVaultObject{Name: "o", Type: "multi-key-value-secret", ContentType: "application/x-json"}, []byte("[" + canary), keyvault.KindSecret, "MalformedObject"},
		"a pinned certificate": {v2beta1.AzureKeyVaultObject{Name: "o", Type: "certificate", Version: "1"}, public, keyvault.KindCertificate, "Synced"},
	} {
		t.Run(name, func(t *testing.T) {
			r := podsOnly("db")
			r.Spec.Vault.Object = c.object
			b := watching(t, r)
			b.vault.value = string(c.value)
			b.firstRead()
			assert.Equal(t, c.reason, b.ready("db").Reason, b.ready("db").Message)
			assert.Equal(t, c.kind, b.vault.calls[0].Kind)
			assert.Equal(t, c.object.Version, b.vault.calls[0].Version)
			assert.NotContains(t, fmt.Sprint(b.status("db"), b.events.events), canary)
		})
	}
}

// certificateObjects returns the values of a certificate's two objects: the public certificate, and the PFX.
func certificateObjects(t *testing.T) (public, pfx []byte) {
	t.Helper()
	content, err := os.ReadFile("../certificate/testdata/openssl3.pfx")
	require.NoError(t, err)
	bundle, err := certificate.Parse(content, "")
	require.NoError(t, err)
	return bundle.Leaf().Raw, []byte(base64.StdEncoding.EncodeToString(content))
}

// With the role Key Vault Secrets User, pods can read a certificate with its key, and nothing else of it.
func TestACertificateIsReadAsASecretIfNothingElseIsAllowed(t *testing.T) {
	public, pfx := certificateObjects(t)
	r := podsOnly("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{Name: "tls", Type: "certificate"}
	b := watching(t, r)
	b.vault.value, b.vault.refuseKind = string(pfx), map[keyvault.Kind]error{keyvault.KindCertificate: fault.New(fault.Denied, "403")}
	b.firstRead()
	assert.Equal(t, "Synced", b.ready("db").Reason)
	require.Len(t, b.vault.calls, 2)
	hash := b.status("db").ValueHash
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 3, "one call a refresh")
	b.vault.value, b.vault.refuseKind = string(public), map[keyvault.Kind]error{keyvault.KindSecret: fault.New(fault.Denied, "403")}
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, "Synced", b.ready("db").Reason)
	assert.Equal(t, hash, b.status("db").ValueHash, "it is the same certificate")
	b.vault.refuseKind[keyvault.KindCertificate] = fault.New(fault.Denied, "403 of the certificate")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, "AccessDenied", b.ready("db").Reason)
}

func TestSeveralObjectsAndSearchesAreWatched(t *testing.T) {
	r := podsOnly("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	r.Spec.Data = []v2beta1.AzureKeyVaultData{{Object: v2beta1.AzureKeyVaultObject{Name: "a", Type: "secret"}, DataKey: "a"},
		{Object: v2beta1.AzureKeyVaultObject{Name: "b", Type: "secret"}, DataKey: "b"}}
	r.Spec.DataFrom = []v2beta1.AzureKeyVaultDataFrom{{Match: v2beta1.AzureKeyVaultMatch{Prefix: "shop-"}}}
	b := watching(t, r)
	b.controller.Identities.AllowServiceAccounts = true
	b.vault.entries = []keyvault.Entry{{Name: "shop-c"}}
	b.firstRead()
	assert.Equal(t, `read 3 objects of vault "kv1", which only pods use`, b.ready("db").Message)
	assert.Empty(t, b.status("db").VaultVersion)
	before := b.status("db").ValueHash
	b.vault.entries, b.now = append(b.vault.entries, keyvault.Entry{Name: "shop-d"}), b.now.Add(time.Minute)
	b.reconcile("db")
	assert.NotEqual(t, before, b.status("db").ValueHash)
}

func TestWhatOnlyPodsUseIsReadAsTheirAuthServiceReadsIt(t *testing.T) {
	r := podsOnly("db")
	r.Spec.Vault.AzureIdentity = &v2beta1.AzureIdentity{Name: "reader"}
	b := watching(t, r)
	b.controller.Identities.AllowServiceAccounts = true
	b.firstRead()
	assert.Equal(t, keyvault.Identity{Namespace: "shop", ServiceAccount: "reader"}, b.vault.calls[0].Identity)
	assert.Contains(t, b.ready("db").Message, `read as ServiceAccount "reader"`)
}

func TestAResourceWithoutOutputsThatIsReadOnceIsReadOnce(t *testing.T) {
	r := once()
	r.Spec.Output = nil
	b := watching(t, r)
	b.firstRead()
	b.now = b.now.Add(time.Hour)
	b.reconcile("db")
	b.restart()
	b.reconcile("db")
	b.now = b.now.Add(limits.FirstReadTime)
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 1)
	assert.Equal(t, "Synced", b.ready("db").Reason)
}

func TestOutputsThatASpecNoLongerHasStay(t *testing.T) {
	for _, watched := range []bool{true, false} {
		b := newBench(t, resource("db"))
		b.controller.WatchInjected = watched
		b.reconcile("db")
		b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output = nil })
		assert.Equal(t, canary, string(b.secret().Data["password"]), "the controller never deleted them then")
		assert.Equal(t, watched, b.status("db").SecretName == "")
		b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output = resource("db").Spec.Output })
		assert.Equal(t, "out", b.status("db").SecretName)
		assert.Empty(t, b.status("db").ValueHash)
	}
}

func TestANewKeyOfHashesIsNoNewValue(t *testing.T) {
	r := podsOnly("db")
	r.Spec.RolloutRestart = &v2beta1.AzureKeyVaultRolloutRestart{Auto: true}
	for name, value := range map[string]string{"the same value": canary, "another version": "rotated"} {
		t.Run(name, func(t *testing.T) {
			b, done := watching(t, r.DeepCopy()), &restarts{}
			b.controller.Restarter, b.controller.RestartDelay = done, 12*time.Second
			b.firstRead()
			before := b.status("db").ValueHash
			b.replaceStatusKey()
			b.vault.value = value
			b.restart()
			b.firstRead()
			assert.NotEqual(t, before, b.status("db").ValueHash)
			b.now = b.now.Add(time.Minute)
			b.reconcile("db")
			assert.Equal(t, value != canary, len(done.changes) == 1)
		})
	}
}

// replaceStatusKey gives the installation another key for hashes.
func (b *bench) replaceStatusKey() {
	b.Helper()
	var key corev1.Secret
	name := types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}
	require.NoError(b, b.client.Get(b.Context(), name, &key))
	key.Data = map[string][]byte{"key": []byte(strings.Repeat("n", 32))}
	require.NoError(b, b.client.Update(b.Context(), &key))
	b.controller.Hasher = b.newHasher()
}

func TestHashesOfATemporaryKeyAreNotShown(t *testing.T) {
	b := watching(t, podsOnly("db"))
	require.NoError(t, b.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}}))
	b.onCreate = func(object client.Object) error {
		if object.GetName() == "akv2k8s-status-key" {
			return errors.New("no")
		}
		return nil
	}
	b.firstRead()
	assert.Empty(t, b.status("db").ValueHash)
	assert.Equal(t, "Synced", b.ready("db").Reason)
	first := b.status("db").LastAzureUpdate
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, first, b.status("db").LastAzureUpdate)
	b.vault.value, b.now = "rotated", b.now.Add(time.Minute)
	b.reconcile("db")
	assert.True(t, b.status("db").LastAzureUpdate.After(first.Time), "a change is found all the same")
}

func TestAStatusThatCouldNotBeWrittenLosesNoChange(t *testing.T) {
	r := podsOnly("db")
	r.Spec.RolloutRestart = &v2beta1.AzureKeyVaultRolloutRestart{Auto: true}
	b, done := watching(t, r), &restarts{}
	b.controller.Restarter, b.controller.RestartDelay = done, 12*time.Second
	b.firstRead()
	b.vault.value, b.now, b.refuseStatus = "rotated", b.now.Add(time.Minute), errors.New("away")
	_, err := b.controller.Reconcile(t.Context(), requestForDB())
	require.ErrorContains(t, err, "away")
	b.refuseStatus = nil
	b.reconcile("db")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, done.changes, 1)
}
