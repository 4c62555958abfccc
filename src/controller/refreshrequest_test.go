package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// annotate writes the annotation that requests a refresh.
func (b *bench) annotate(name, value string) {
	b.Helper()
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(b, b.client.Get(b.Context(), client.ObjectKey{Namespace: "shop", Name: name}, &r))
	if r.Annotations == nil {
		r.Annotations = map[string]string{}
	}
	r.Annotations["akv2k8s.io/refresh"] = value
	require.NoError(b, b.client.Update(b.Context(), &r))
}

// requestRefresh writes the annotation and reconciles.
func (b *bench) requestRefresh(name, value string) ctrl.Result {
	b.Helper()
	b.annotate(name, value)
	return b.reconcile(name)
}

func TestARequestedRefreshReadsTheVaultPastEveryCache(t *testing.T) {
	withoutOutput := podsOnly("db")
	readOnce := once()
	for name, r := range map[string]*v2beta1.AzureKeyVaultSecret{"an output": resource("db"), "pods only": withoutOutput, "read once": readOnce} {
		t.Run(name, func(t *testing.T) {
			b := watching(t, r)
			b.firstRead()
			b.now = b.now.Add(2 * time.Second)
			b.vault.value = "rotated"
			calls := len(b.vault.calls)
			b.requestRefresh("db", "2026-01-02T03:04:05+01:00")
			assert.Len(t, b.vault.calls, calls+1)
			assert.Equal(t, keyvault.PriorityFirstSync, b.vault.purpose.Priority)
			assert.Zero(t, b.vault.maxAge, "no cached value counts")
			assert.Equal(t, "2026-01-02T03:04:05+01:00", b.status("db").Refresh)
			assert.Equal(t, "v-of-r", b.status("db").VaultVersion)
			if r.Spec.Output != nil {
				assert.Equal(t, "rotated", string(b.secret().Data["password"]))
				assert.NotContains(t, b.secret().Annotations, "akv2k8s.io/refresh")
			}
			for range 3 {
				b.now = b.now.Add(5 * time.Second)
				b.reconcile("db")
			}
			assert.LessOrEqual(t, len(b.vault.calls), calls+2, "one read for one request")
			calls = len(b.vault.calls)
			b.restart()
			b.reconcile("db")
			b.now = b.now.Add(limits.FirstReadTime)
			b.reconcile("db")
			if r.Spec.RefreshInterval != nil {
				assert.Len(t, b.vault.calls, calls, "nor one more after a restart")
			} else {
				assert.Equal(t, keyvault.PriorityRefresh, b.vault.purpose.Priority)
			}
		})
	}
}

func TestARefreshThatIsRequestedWithTheResourceIsDoneByItsFirstSync(t *testing.T) {
	r := resource("db")
	r.Annotations = map[string]string{"akv2k8s.io/refresh": "1"}
	b := newBench(t, r)
	b.reconcile("db")
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 1)
	assert.Equal(t, "1", b.status("db").Refresh)
}

func TestRequestedRefreshesOfAResourceComeOnceASecond(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	calls, start := len(b.vault.calls), b.now
	large := strings.Repeat("x", 200<<10)
	for i := range 200 {
		b.now = start.Add(time.Duration(i) * 10 * time.Millisecond)
		if result := b.requestRefresh("db", fmt.Sprint(large, i)); result.RequeueAfter < time.Second {
			require.NotNil(t, result.Priority)
			assert.GreaterOrEqual(t, *result.Priority, handler.LowPriority, "as a first sync")
		}
	}
	assert.Len(t, b.vault.calls, calls+2)
	b.now = start.Add(3 * time.Second)
	b.reconcile("db")
	assert.Len(t, b.vault.calls, calls+3, "the last one is done too")
	assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, b.status("db").Refresh)
	b.now = b.now.Add(time.Second)
	b.reconcile("db")
	assert.Len(t, b.vault.calls, calls+3)
	statuses := 0
	for _, write := range b.writes {
		if write == "status" {
			statuses++
		}
	}
	assert.LessOrEqual(t, statuses, 4)
	assert.Less(t, len(fmt.Sprint(b.events.events)), 10<<10)
}

func TestTheStatusHasARequestThatIsPlainAndTheHashOfOthers(t *testing.T) {
	for value, want := range map[string]string{
		"2026-11-29T12:00:00Z": "2026-11-29T12:00:00Z", "v1.2_3": "v1.2_3", strings.Repeat("a", 64): strings.Repeat("a", 64),
		strings.Repeat("a", 65): "sha256:", "two words": "sha256:", "<script>": "sha256:", "ü": "sha256:", "a\nb": "sha256:",
	} {
		b := newBench(t, resource("db"))
		b.requestRefresh("db", value)
		got := b.status("db").Refresh
		assert.True(t, got == want || want == "sha256:" && strings.HasPrefix(got, want) && len(got) == 71, "%q: %q", value, got)
		b.now = b.now.Add(5 * time.Second)
		b.reconcile("db")
		assert.Len(t, b.vault.calls, 1, "%q is done", value)
	}
}

func TestARequestIsOpenUntilTheVaultAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		next error
		done bool
	}{
		"no answer":      {fault.New(fault.Unavailable, "503"), false},
		"throttled":      {fault.New(fault.Throttled, "429"), false},
		"deferred":       {ratelimit.BusyError("kv1", 4*time.Second), false},
		"not found":      {fault.New(fault.NotFound, "404"), true},
		"denied":         {fault.New(fault.Denied, "403"), true},
		"a broken value": {fault.New(fault.Malformed, "what"), true},
	} {
		t.Run(name, func(t *testing.T) {
			b := watching(t, podsOnly("db"))
			b.firstRead()
			b.vault.next, b.now = c.next, b.now.Add(2*time.Second)
			calls := len(b.vault.calls)
			wait := b.requestRefresh("db", "now").RequeueAfter
			assert.Equal(t, c.done, b.status("db").Refresh == "now")
			assert.GreaterOrEqual(t, wait, time.Second, "it is retried like any failure")
			b.now = b.now.Add(500 * time.Millisecond)
			if name != "deferred" { // which changes nothing, so the next event tries again
				b.reconcile("db")
				assert.Len(t, b.vault.calls, calls+1, "an event does not repeat it earlier")
			}
			b.restart()
			b.vault.next, b.vault.maxAge = nil, -1
			b.firstRead()
			assert.Equal(t, "now", b.status("db").Refresh)
			assert.Equal(t, !c.done, b.vault.maxAge == 0, "what is done is not done again by the next leader")
		})
	}
}

func TestARequestedRefreshIsFollowedThoughARetryIsLater(t *testing.T) {
	b := newBench(t, resource("db"))
	b.vault.next = fault.New(fault.Denied, "403")
	for range 12 {
		b.now = b.now.Add(b.reconcile("db").RequeueAfter)
	}
	require.Greater(t, b.reconcile("db").RequeueAfter, 20*time.Second)
	b.vault.next, b.now = nil, b.now.Add(time.Second)
	b.requestRefresh("db", "the-role-is-there")
	assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status)
}

func TestOneNamespaceDoesNotUseAllRequestedRefreshes(t *testing.T) {
	var objects []client.Object
	for i := range 2 * limits.RefreshRequests {
		r := podsOnly(fmt.Sprint("r-", i))
		objects = append(objects, r)
	}
	other := podsOnly("other")
	other.Namespace = "team"
	b := watching(t, append(objects, other)...)
	for _, o := range objects {
		b.requestRefresh(o.GetName(), "now")
	}
	assert.LessOrEqual(t, len(b.vault.calls), limits.RefreshRequests/2+1)
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), client.ObjectKeyFromObject(other), &r))
	r.Annotations = map[string]string{"akv2k8s.io/refresh": "now"}
	require.NoError(t, b.client.Update(t.Context(), &r))
	_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(other)})
	require.NoError(t, err)
	assert.Equal(t, "team", b.vault.purpose.Namespace)
	for range 6 {
		b.now = b.now.Add(2 * time.Second)
		for _, o := range objects {
			b.reconcile(o.GetName())
		}
	}
	for _, o := range objects {
		assert.Equal(t, "now", b.status(o.GetName()).Refresh)
	}
}

func TestAnAnnotationOfAnotherNameOrAStatusRequestsNothing(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), requestForDB().NamespacedName, &r))
	r.Status.Refresh = "forged"
	require.NoError(t, b.client.Status().Update(t.Context(), &r))
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 1)
	b.annotate("db", "")
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 1, "an empty value is none")
	s := b.secret()
	s.Annotations = map[string]string{"akv2k8s.io/refresh": "1"}
	require.NoError(t, b.client.Update(t.Context(), s))
	b.reconcile("db")
	assert.NotZero(t, b.vault.maxAge)
}
