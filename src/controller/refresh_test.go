package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// restart replaces the controller by a new one without memory.
func (b *bench) restart() {
	b.Helper()
	var err error
	b.controller, err = controller.New(b.controller.Config)
	require.NoError(b, err)
}

func once() *v2beta1.AzureKeyVaultSecret {
	r := resource("db")
	r.Spec.RefreshInterval = new(intstr.FromInt32(0))
	return r
}

func TestAResourceHasAnIntervalOfItsOwn(t *testing.T) {
	r := resource("db")
	r.Spec.RefreshInterval = new(intstr.FromString("10m"))
	b := newBench(t, r)
	first := b.reconcile("db").RequeueAfter
	assert.LessOrEqual(t, first, 10*time.Minute)
	for range 3 {
		b.now = b.now.Add(10 * time.Minute)
		assert.Equal(t, first, b.reconcile("db").RequeueAfter)
	}
	assert.Len(t, b.vault.calls, 4)
	b.vault.next, b.now = fault.New(fault.NotFound, "gone"), b.now.Add(10*time.Minute)
	assert.Greater(t, b.reconcile("db").RequeueAfter, 30*time.Second, "a failure that only a person can mend waits for its interval too")
}

func TestOneLookIsEnoughAlsoAfterARestart(t *testing.T) {
	r := once()
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	b := newBench(t, r)
	assert.Greater(t, b.reconcile("db").RequeueAfter, 8760*time.Hour)
	require.Len(t, b.vault.calls, 1)
	before, writes := b.status("db"), len(b.writes)
	b.vault.value = "rotated"
	b.restart()
	b.now = b.now.Add(time.Hour)
	assert.Greater(t, b.reconcile("db").RequeueAfter, 8760*time.Hour)
	assert.Len(t, b.vault.calls, 1, "no look after a restart")
	assert.Len(t, b.writes, writes)
	assert.Equal(t, before, b.status("db"))

	var labelled v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, &labelled))
	labelled.Labels = map[string]string{"team": "b"}
	require.NoError(t, b.client.Update(t.Context(), &labelled))
	b.reconcile("db")
	assert.Equal(t, "b", b.secret().Labels["team"], "labels follow")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Len(t, b.vault.calls, 1, "without a look")
	assert.Equal(t, before.Conditions, b.status("db").Conditions)
}

func TestOneLookIsRepeatedWhereTheOutputOrTheSpecIsAnother(t *testing.T) {
	for name, disturb := range map[string]func(b *bench){
		"the output was edited": func(b *bench) {
			s := b.secret()
			s.Data["password"] = []byte("edited")
			require.NoError(b, b.client.Update(b.Context(), s))
		},
		"the output was deleted": func(b *bench) { require.NoError(b, b.client.Delete(b.Context(), b.secret())) },
		"the spec was changed": func(b *bench) {
			b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.DataKey = "other" })
		},
		"the hash was forged": func(b *bench) {
			var r v2beta1.AzureKeyVaultSecret
			require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, &r))
			r.Status.SecretHash = "forged"
			require.NoError(b, b.client.Status().Update(b.Context(), &r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, once())
			b.reconcile("db")
			b.vault.value = "rotated"
			disturb(b)
			b.restart()
			b.reconcile("db")
			assert.Len(t, b.vault.calls, 2)
			for _, value := range b.secret().Data {
				assert.Equal(t, "rotated", string(value))
			}
		})
	}
}

func TestOneLookThatFailedIsNotTakenForDoneAfterARestart(t *testing.T) {
	b := newBench(t, once())
	b.reconcile("db")
	b.vault.next = fault.New(fault.NotFound, "reading it: no")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Vault.Object.Name = "another" })
	require.Equal(t, metav1.ConditionFalse, b.ready("db").Status)
	b.restart()
	b.reconcile("db")
	assert.Equal(t, metav1.ConditionFalse, b.ready("db").Status, "the Secret has the value of the object before")
	assert.Len(t, b.vault.calls, 3)
}

func TestStaleSaysThatTheOutputMayBeOld(t *testing.T) {
	b := newBench(t, resource("db"), resource("never"))
	b.reconcile("db")
	condition := func(name string) *metav1.Condition {
		return meta.FindStatusCondition(b.status(name).Conditions, "Stale")
	}
	assert.Equal(t, metav1.ConditionFalse, condition("db").Status)
	b.vault.next, b.now = fault.New(fault.Denied, "reading: 403"), b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, metav1.ConditionTrue, condition("db").Status)
	assert.Equal(t, "AccessDenied", condition("db").Reason)
	assert.Contains(t, condition("db").Message, `Secret "out"`)
	b.reconcile("never")
	assert.Nil(t, condition("never"), "nothing is there that could be old")
	b.vault.next, b.now = nil, b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Equal(t, metav1.ConditionFalse, condition("db").Status)
}

func TestStaleNamesTheOutputsInOneOrder(t *testing.T) {
	r := resource("db")
	r.Spec.Output.ConfigMap = &v2beta1.AzureKeyVaultOutputConfigMap{Name: "public", DataKey: "key"}
	b := newBench(t, r)
	b.reconcile("db")
	b.vault.next = fault.New(fault.NotFound, "gone")
	for range 30 {
		b.now = b.now.Add(time.Minute)
		b.reconcile("db")
		require.Contains(t, meta.FindStatusCondition(b.status("db").Conditions, "Stale").Message, `ConfigMap "public" and Secret "out"`)
	}
}

func TestAnObjectThatExpiresIsToldInTime(t *testing.T) {
	for name, r := range map[string]*v2beta1.AzureKeyVaultSecret{"looked at": resource("db"), "looked at once": once()} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, r)
			condition := func() *metav1.Condition { return meta.FindStatusCondition(b.status("db").Conditions, "ExpiringSoon") }
			b.vault.expires = b.now.Add(40 * 24 * time.Hour)
			wait := b.reconcile("db").RequeueAfter
			assert.Equal(t, "NotSoon", condition().Reason)
			require.Len(t, b.events.events, 1)
			if r.Spec.RefreshInterval != nil {
				assert.Equal(t, 10*24*time.Hour, wait, "it wakes for that alone")
				b.restart()
				assert.Equal(t, wait, b.reconcile("db").RequeueAfter, "also after a restart, when the vault is not asked")
			}
			b.now = b.now.Add(10 * 24 * time.Hour)
			b.reconcile("db")
			assert.Equal(t, metav1.ConditionTrue, condition().Status)
			assert.Equal(t, "Expiring", condition().Reason)
			assert.Equal(t, "the object expires at 2026-02-11T03:04:05Z; issue a new version in the vault", condition().Message)
			require.Len(t, b.events.events, 2)
			assert.True(t, strings.HasPrefix(b.events.events[1], "Warning ExpiringSoon"), b.events.events[1])
			if r.Spec.RefreshInterval != nil {
				assert.Greater(t, b.reconcile("db").RequeueAfter, 8760*time.Hour, "it was told, so nothing is to be done")
			}
			b.now = b.now.Add(31 * 24 * time.Hour)
			b.restart()
			b.reconcile("db")
			assert.Equal(t, "Expired", condition().Reason)
			assert.Len(t, b.events.events, 3)
			assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status, "the vault still gives it")
		})
	}
	b := newBench(t, resource("db"))
	b.vault.expires = b.now.Add(time.Hour)
	b.reconcile("db")
	b.vault.expires, b.now = time.Time{}, b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Nil(t, meta.FindStatusCondition(b.status("db").Conditions, "ExpiringSoon"), "without a date nothing is said")
}

func TestOfSeveralObjectsTheOneThatExpiresFirstIsTold(t *testing.T) {
	r := resource("db")
	r.Spec.Vault.Object = v2beta1.AzureKeyVaultObject{}
	for _, name := range []string{"never", "late", "soon", "later", "never-too"} {
		r.Spec.Data = append(r.Spec.Data,
			v2beta1.AzureKeyVaultData{Object: v2beta1.AzureKeyVaultObject{Name: name, Type: "secret"}, DataKey: name})
	}
	b := newBench(t, r)
	soon := b.now.Add(24 * time.Hour)
	b.vault.dates = map[string]time.Time{"late": soon.Add(time.Hour), "soon": soon, "later": soon.Add(2 * time.Hour)}
	b.reconcile("db")
	require.NotNil(t, b.status("db").Expires)
	assert.True(t, soon.Equal(b.status("db").Expires.Time), b.status("db").Expires)
	assert.Contains(t, meta.FindStatusCondition(b.status("db").Conditions, "ExpiringSoon").Message, "2026-01-03T03:04:05Z")
}

func TestEachResourceHasItsGauges(t *testing.T) {
	b := newBench(t, resource("db"))
	require.NoError(t, b.registry.Register(b.controller))
	b.vault.expires = time.Unix(1800000000, 0)
	b.reconcile("db")
	want := `
# HELP akv2k8s_resource_expiry_timestamp_seconds When the first of the AzureKeyVaultSecret's vault objects expires, as Unix time; absent if none expires.
# TYPE akv2k8s_resource_expiry_timestamp_seconds gauge
akv2k8s_resource_expiry_timestamp_seconds{name="db",namespace="shop"} 1.8e+09
# HELP akv2k8s_resource_last_success_timestamp_seconds When the AzureKeyVaultSecret was last known to be in sync, as Unix time.
# TYPE akv2k8s_resource_last_success_timestamp_seconds gauge
akv2k8s_resource_last_success_timestamp_seconds{name="db",namespace="shop"} 1.767323045e+09
# HELP akv2k8s_resource_ready Whether the AzureKeyVaultSecret's outputs are in sync, or its objects can be read (1), or not (0).
# TYPE akv2k8s_resource_ready gauge
akv2k8s_resource_ready{name="db",namespace="shop"} 1
`
	names := []string{"akv2k8s_resource_ready", "akv2k8s_resource_last_success_timestamp_seconds", "akv2k8s_resource_expiry_timestamp_seconds"}
	require.NoError(t, testutil.GatherAndCompare(b.registry, bytes.NewBufferString(want), names...))

	b.vault.expires, b.now = time.Unix(1900000000, 0), b.now.Add(time.Minute)
	b.reconcile("db")
	want = strings.NewReplacer("1.8e+09", "1.9e+09", "1.767323045e+09", "1.767323105e+09").Replace(want)
	require.NoError(t, testutil.GatherAndCompare(b.registry, bytes.NewBufferString(want), names...), "another date")
	for _, failure := range []error{errors.New("a bug"), fault.New(fault.Denied, "no")} {
		b.vault.next, b.now = failure, b.now.Add(10*time.Minute)
		_, _ = b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
		assert.NoError(t, testutil.GatherAndCompare(b.registry, bytes.NewBufferString(strings.Replace(want, `namespace="shop"} 1`+"\n", `namespace="shop"} 0`+"\n", 1)), names...),
			"the last success stays")
	}
	require.NoError(t, b.client.Delete(t.Context(), resource("db")))
	b.reconcile("db")
	count, err := testutil.GatherAndCount(b.registry, names...)
	require.NoError(t, err)
	assert.Zero(t, count)
}

func TestAReadThatIsPutOffIsToldOnlyIfThatGoesOn(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	before, writes, events := b.status("db"), len(b.writes), len(b.events.events)
	b.vault.next, b.now = ratelimit.BusyError("kv1", 4*time.Second), b.now.Add(30*time.Second)
	for range 6 {
		wait := b.reconcile("db").RequeueAfter
		assert.GreaterOrEqual(t, wait, 4*time.Second)
		assert.LessOrEqual(t, wait, 8*time.Second)
		b.now = b.now.Add(7 * time.Second)
	}
	assert.Equal(t, before, b.status("db"), "nothing is known of the object")
	assert.Len(t, b.writes, writes)
	assert.Len(t, b.events.events, events)
	b.now = b.now.Add(10 * time.Second)
	b.reconcile("db")
	assert.Equal(t, "Throttled", b.ready("db").Reason)
	b.vault.next, b.now = nil, b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status)
	b.vault.next, b.now = ratelimit.BusyError("kv1", 4*time.Second), b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status, "another time counts anew")
}

func TestWhatIsOldIsToldAsStaleHoweverLongThePauseIs(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	succeeded := b.now
	b.vault.next, b.now = ratelimit.PausedError("kv1", 5*time.Minute), b.now.Add(30*time.Second)
	for b.now.Sub(succeeded) < 75*time.Second {
		assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status)
		b.now = b.now.Add(b.reconcile("db").RequeueAfter)
	}
	assert.LessOrEqual(t, b.now.Sub(succeeded), 90*time.Second, "before the third interval is over")
	b.reconcile("db")
	assert.Equal(t, "Throttled", b.ready("db").Reason)
	stale := meta.FindStatusCondition(b.status("db").Conditions, v2beta1.ConditionStale)
	require.NotNil(t, stale)
	assert.Equal(t, metav1.ConditionTrue, stale.Status)
}

func TestWhatWasNeverBroughtIsMoreUrgentThanALook(t *testing.T) {
	r := resource("db")
	r.Spec.RefreshInterval = new(intstr.FromString("10m"))
	b := newBench(t, r)
	b.reconcile("db")
	assert.Equal(t, keyvault.Purpose{Namespace: "shop", Priority: keyvault.PriorityFirstSync, RefreshInterval: 10 * time.Minute}, b.vault.purpose)
	b.now = b.now.Add(10 * time.Minute)
	b.reconcile("db")
	assert.Equal(t, keyvault.PriorityRefresh, b.vault.purpose.Priority)
	b.restart()
	b.reconcile("db")
	assert.Equal(t, keyvault.PriorityRefresh, b.vault.purpose.Priority, "also after a restart")
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.DataKey = "other" })
	b.reconcile("db")
	assert.Equal(t, keyvault.PriorityFirstSync, b.vault.purpose.Priority)

	b = newBench(t, resource("db"))
	b.vault.next = fault.New(fault.Unavailable, "no answer")
	for range 2 {
		b.now = b.now.Add(b.reconcile("db").RequeueAfter)
	}
	assert.Len(t, b.vault.calls, 2)
	assert.Equal(t, keyvault.PriorityFirstSync, b.vault.purpose.Priority, "it was tried, but nothing was brought")
}

func TestAChangeThatAListShowsIsFollowedAtOnce(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	object := b.vault.calls[0]
	b.vault.value = "rotated"
	b.reconcile("db")
	require.Len(t, b.vault.calls, 1, "its time has not come")
	other := object
	other.Identity = keyvault.Identity{Namespace: "other", ServiceAccount: "reader"}
	b.controller.OnObjectChanged(other)
	b.reconcile("db")
	require.Len(t, b.vault.calls, 1, "somebody else's is another one")
	b.controller.OnObjectChanged(object)
	b.reconcile("db")
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 2)
}

// The running sync has read the old value, and schedules its next refresh for later.
func TestAChangeThatAListShowsDuringASyncIsFollowedAtOnce(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	object := b.vault.calls[0]
	b.vault.value, b.now = "second", b.now.Add(time.Minute)
	b.onApply = func(string) {
		b.onApply, b.vault.value = nil, "third"
		b.controller.OnObjectChanged(object)
	}
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, time.Second, "the look that was asked for is due")
	require.Equal(t, "second", string(b.secret().Data["password"]))
	b.reconcile("db")
	assert.Equal(t, "third", string(b.secret().Data["password"]))
	assert.Greater(t, b.reconcile("db").RequeueAfter, time.Second)
	assert.Len(t, b.vault.calls, 3, "it was asked for once")
}

func TestThatAFallbackWasReadIsTold(t *testing.T) {
	b := newBench(t, resource("db"))
	b.vault.fallback = "kv2"
	b.reconcile("db")
	assert.Contains(t, b.ready("db").Message, `its fallback "kv2" was read`)
	assert.Contains(t, b.events.events[0], `its fallback "kv2" was read`)
	b.vault.fallback, b.now = "", b.now.Add(time.Minute)
	b.reconcile("db")
	assert.NotContains(t, b.ready("db").Message, "fallback")
}

func TestALookWhoseTimeComesMeanwhileIsNotForgotten(t *testing.T) {
	for name, next := range map[string]error{"after a success": nil, "after a failure": fault.New(fault.NotFound, "gone"), "after one that mends itself": fault.New(fault.Unavailable, "503")} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.controller.Clock = func() time.Time { // slower than any real clock, so that each point in time occurs
				b.now = b.now.Add(7 * time.Second)
				return b.now
			}
			for range 40 {
				b.vault.next = next
				require.Positive(t, b.reconcile("db").RequeueAfter, "zero and less would be never")
			}
		})
	}
}

func TestThousandsOfGoodSyncsAreToldByAFewEvents(t *testing.T) {
	const many = 130
	var objects []client.Object
	for i := range many {
		r := resource(fmt.Sprintf("r-%d", i))
		r.Spec.Output.Secret.Name = r.Name
		objects = append(objects, r)
	}
	b := newBench(t, objects...)
	for i := range many {
		b.reconcile(fmt.Sprintf("r-%d", i))
	}
	assert.Len(t, b.events.events, 100, "their status says it too")
	b.now = b.now.Add(30 * time.Second)
	b.vault.next = fault.New(fault.Denied, "reading it: no")
	for i := range many {
		b.reconcile(fmt.Sprintf("r-%d", i))
	}
	assert.Len(t, b.events.events, 100+many, "no failure is kept back")
	b.now, b.vault.next, b.vault.value = b.now.Add(time.Hour), nil, "another"
	b.reconcile("r-0")
	assert.Len(t, b.events.events, 100+many+1, "after a while there is room again")
}

func TestAVaultThatAsksForADayIsToldAndTriedAgain(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	start := b.now.Add(30 * time.Second)
	b.vault.next, b.now = ratelimit.PausedError("kv1", 24*time.Hour), start
	for b.now.Sub(start) < 45*time.Second {
		wait := b.reconcile("db").RequeueAfter
		require.LessOrEqual(t, wait, 45*time.Second, "then it has to be told")
		b.now = b.now.Add(wait)
	}
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 6*time.Minute, "no resource is untried for a day")
	assert.Equal(t, "Throttled", b.ready("db").Reason)
	assert.Equal(t, metav1.ConditionTrue, meta.FindStatusCondition(b.status("db").Conditions, "Stale").Status, "also of resources that were only put off")
	b.vault.next = &fault.Error{Kind: fault.Unavailable, Operation: "reading", RetryAfter: 24 * time.Hour}
	b.now = b.now.Add(10 * time.Minute)
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 6*time.Minute)
}

func TestFailuresThatTakeTurnsAreTriedMoreAndMoreSeldom(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	tried := 0
	for start := b.now; b.now.Sub(start) < 10*time.Minute; tried++ {
		b.vault.next = fault.New([]fault.Kind{fault.Denied, fault.Unavailable}[tried%2], "no")
		b.now = b.now.Add(b.reconcile("db").RequeueAfter)
	}
	assert.Less(t, tried, 40, "each with a status and an event")
}

func TestEventsAboutFailuresAndTheirTextsAreBounded(t *testing.T) {
	var objects []client.Object
	for i := range limits.FailureEventBurst + 50 {
		objects = append(objects, resource(fmt.Sprintf("r-%d", i)))
	}
	b := newBench(t, objects...)
	b.vault.next = fault.New(fault.Denied, "%s", strings.Repeat("ü", 5000))
	for _, o := range objects {
		b.reconcile(o.GetName())
	}
	assert.Len(t, b.events.events, limits.FailureEventBurst)
	for _, event := range b.events.events {
		require.LessOrEqual(t, len(event), limits.EventNoteBytes+len("Warning ErrAzureVault "))
	}
	assert.LessOrEqual(t, len(b.ready("r-0").Message), limits.ConditionMessageBytes)
	assert.True(t, utf8.ValidString(b.ready("r-0").Message))
}

func TestOneOutputIsFedByABoundedNumberOfResources(t *testing.T) {
	var objects []client.Object
	for i := range limits.ResourcesPerOutput + 1 {
		r := resource(fmt.Sprintf("r-%d", i))
		r.Spec.Output.Secret.DataKey = r.Name
		objects = append(objects, r)
	}
	b := newBench(t, objects...)
	for _, o := range objects {
		b.reconcile(o.GetName())
	}
	last := objects[limits.ResourcesPerOutput].GetName()
	assert.Equal(t, "TargetConflict", b.ready(last).Reason)
	assert.Contains(t, b.ready(last).Message, "limit 100")
	assert.Len(t, b.secret().Data, limits.ResourcesPerOutput)
	b.now = b.now.Add(time.Minute)
	b.reconcile("r-0")
	assert.Equal(t, "Synced", b.ready("r-0").Reason, "those that feed it already go on")
}

func TestNothingIsRememberedOfAResourceThatIsGone(t *testing.T) {
	b := newBench(t, resource("db"))
	var woken []ctrl.Request
	b.controller.SetEnqueue(func(r ctrl.Request) { woken = append(woken, r) })
	b.reconcile("db")
	object := b.vault.calls[0]
	b.controller.OnObjectChanged(object)
	assert.Equal(t, []ctrl.Request{requestForDB()}, woken)
	b.vault.next, b.now = ratelimit.BusyError("kv1", 4*time.Second), b.now.Add(30*time.Second)
	b.reconcile("db")
	b.remove(resource("db"))
	b.controller.OnObjectChanged(object)
	assert.Len(t, woken, 1, "nobody uses the object any more")
	again := resource("db")
	again.UID = "uid-again"
	require.NoError(t, b.client.Create(t.Context(), again))
	b.now = b.now.Add(limits.DeferralGrace)
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 8*time.Second)
	assert.Empty(t, b.status("db").Conditions, "its reads were put off for the first time")
}

func TestAResourceThatIsCreatedAgainOrChangedIsLookedAtAtOnce(t *testing.T) {
	for name, edit := range map[string]func(r *v2beta1.AzureKeyVaultSecret){
		"created again":        func(r *v2beta1.AzureKeyVaultSecret) { r.UID = "uid-again" },
		"another spec":         func(r *v2beta1.AzureKeyVaultSecret) { r.Generation++ },
		"another label":        func(r *v2beta1.AzureKeyVaultSecret) { r.Labels = map[string]string{"team": "b"} },
		"another annotation":   func(r *v2beta1.AzureKeyVaultSecret) { r.Annotations = map[string]string{"a": "b"} },
		"as it was, untouched": func(*v2beta1.AzureKeyVaultSecret) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.reconcile("db")
			b.vault.value = "rotated"
			var r v2beta1.AzureKeyVaultSecret
			require.NoError(t, b.client.Get(t.Context(), requestForDB().NamespacedName, &r))
			edit(&r)
			require.NoError(t, b.client.Update(t.Context(), &r))
			b.reconcile("db")
			want := 2
			if strings.HasPrefix(name, "as it was") {
				want = 1
			}
			assert.Len(t, b.vault.calls, want)
		})
	}
}

func TestAChangedSpecIsTriedAsIfItHadNeverFailed(t *testing.T) {
	b := newBench(t, resource("db"))
	b.vault.next = fault.New(fault.Denied, "reading: 403")
	for range 4 {
		b.now = b.now.Add(b.reconcile("db").RequeueAfter)
	}
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.Output.Secret.DataKey = "other" })
	b.now = b.now.Add(2 * time.Second)
	assert.Equal(t, 4*time.Second, b.reconcile("db").RequeueAfter, "the second failure of this spec")
}
