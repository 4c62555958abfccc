package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/statushash"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/controller/syncmetrics"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

const canary = "canary-5c1d90"

// vault is a fake vault that counts its reads.
type vault struct {
	mu    sync.Mutex
	value string
	next  error
	// expires is the expiry date of every object without an entry in dates.
	expires time.Time
	dates   map[string]time.Time
	// entries is the list of secrets.
	entries []keyvault.Entry
	// refuse holds errors by object.
	refuse map[string]error
	calls  []keyvault.Ref
	// fallback is the vault that answers instead of the one in the request.
	fallback string
	// purpose is the purpose of the last read, maxAge its maximum age.
	purpose keyvault.Purpose
	maxAge  time.Duration
	// refuseKind holds errors by kind of object.
	refuseKind map[keyvault.Kind]error
	// meanwhile is called during each read; nil does nothing.
	meanwhile func()
}

func (v *vault) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	if v.meanwhile != nil {
		v.meanwhile()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.purpose, v.maxAge = keyvault.PurposeOf(ctx), maxAge
	v.calls = append(v.calls, ref)
	if err := v.refuseKind[ref.Kind]; err != nil {
		return keyvault.Object{}, err
	}
	if err := v.refuse[ref.Name]; err != nil {
		return keyvault.Object{}, err
	}
	if ref.Kind == keyvault.KindSecretList {
		return keyvault.Object{Ref: ref, Version: "list", Entries: v.entries}, v.next
	}
	expires, ok := v.dates[ref.Name]
	if !ok {
		expires = v.expires
	}
	return keyvault.Object{Ref: ref, Version: "v-of-" + v.value[:min(1, len(v.value))], Value: keyvault.NewValue([]byte(v.value)),
		Expires: expires, FallbackVault: v.fallback}, v.next
}

// recorder records events as text.
type recorder struct{ events []string }

func (r *recorder) Eventf(_, _ runtime.Object, eventtype, reason, _, note string, args ...any) {
	r.events = append(r.events, eventtype+" "+reason+" "+fmt.Sprintf(note, args...))
}

// bench has a controller and a fake API server that supports server-side apply.
type bench struct {
	*testing.T
	client     client.WithWatch
	controller *controller.Controller
	vault      *vault
	events     *recorder
	registry   *prometheus.Registry
	now        time.Time
	writes     []string
	refuse     error
	// refuseStatus is the error of every patch of a status; nil lets them through.
	refuseStatus error
	// onApply is called before each apply that is not a dry run, with the object's name.
	onApply func(name string)
	// onRefuse returns the error of an apply of the object; nil lets it through.
	onRefuse func(name string) error
	// onGet returns the error of a read in the namespace shop, from the cache or the API server; nil lets it through.
	onGet func(name string, object client.Object) error
	// onCreate returns the error of the creation of an object; nil lets it through.
	onCreate func(object client.Object) error
	looks    int // number of reads of objects with their data
}

// Get implements client.Reader, for uncached reads.
func (b *bench) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	b.looks++
	return b.client.Get(ctx, key, object, options...)
}

// List implements client.Reader.
func (b *bench) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return b.client.List(ctx, list, options...)
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v2beta1.AddToScheme(scheme))
	b := &bench{T: t, vault: &vault{value: canary}, events: &recorder{}, registry: prometheus.NewRegistry(),
		now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}}
	b.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, key)...).
		WithStatusSubresource(&v2beta1.AzureKeyVaultSecret{}).WithReturnManagedFields().
		WithIndex(store.NewPartialMetadata(output.Secret), store.OwnerIndex, store.OwnerIndexValues).
		WithIndex(store.NewPartialMetadata(output.ConfigMap), store.OwnerIndex, store.OwnerIndexValues).
		WithInterceptorFuncs(b.witness()).Build()
	metrics, err := syncmetrics.New(b.registry)
	require.NoError(t, err)
	b.controller, err = controller.New(controller.Config{
		Client: b.client, APIReader: b, Vault: b.vault, Events: b.events, Metrics: metrics,
		Hasher:          b.newHasher(),
		RefreshInterval: 30 * time.Second, ExpiryWarning: 30 * 24 * time.Hour, FetchTimeout: 5 * time.Second, Clock: func() time.Time { return b.now },
		DecodePool: decodepool.New(decodepool.Config{}),
	})
	require.NoError(t, err)
	return b
}

func (b *bench) newHasher() *statushash.Key {
	return &statushash.Key{APIReader: b.client, Writer: b.client, Random: strings.NewReader(strings.Repeat("k", 320)),
		Clock: func() time.Time { return b.now }, SecretName: types.NamespacedName{Namespace: "akv2k8s", Name: "akv2k8s-status-key"}}
}

// witness records each write that reaches the API server.
func (b *bench) witness() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if b.onGet != nil && key.Namespace == "shop" {
				if err := b.onGet(key.Name, o); err != nil {
					return err
				}
			}
			return c.Get(ctx, key, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if b.onCreate != nil {
				if err := b.onCreate(o); err != nil {
					return err
				}
			}
			return c.Create(ctx, o, opts...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			var options client.ApplyOptions
			options.ApplyOptions(opts)
			b.writes = append(b.writes, strings.Join(append([]string{"apply"}, options.DryRun...), " "))
			if b.refuse != nil {
				return b.refuse
			}
			named, ok := obj.(interface{ GetName() *string })
			if ok && b.onApply != nil && len(options.DryRun) == 0 {
				b.onApply(*named.GetName())
			}
			if ok && b.onRefuse != nil {
				if err := b.onRefuse(*named.GetName()); err != nil {
					return err
				}
			}
			return c.Apply(ctx, obj, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			b.writes = append(b.writes, sub)
			if b.refuseStatus != nil {
				return b.refuseStatus
			}
			return c.SubResource(sub).Patch(ctx, obj, p, opts...)
		},
	}
}

func resource(name string) *v2beta1.AzureKeyVaultSecret {
	return &v2beta1.AzureKeyVaultSecret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID("uid-" + name), Generation: 1,
			CreationTimestamp: metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Labels: map[string]string{"team": "a"}},
		Spec: v2beta1.AzureKeyVaultSecretSpec{
			Vault:  v2beta1.AzureKeyVault{Name: "kv1", Object: v2beta1.AzureKeyVaultObject{Name: "db", Type: "secret"}},
			Output: &v2beta1.AzureKeyVaultOutput{Secret: &v2beta1.AzureKeyVaultOutputSecret{Name: "out", DataKey: "password"}},
		},
	}
}

func (b *bench) reconcile(name string) ctrl.Result {
	b.Helper()
	result, err := b.controller.Reconcile(b.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}})
	require.NoError(b, err)
	return result
}

func (b *bench) secret() *corev1.Secret {
	b.Helper()
	var s corev1.Secret
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: "out"}, &s))
	return &s
}

func (b *bench) ready(name string) *metav1.Condition {
	b.Helper()
	condition := meta.FindStatusCondition(b.status(name).Conditions, "Ready")
	require.NotNil(b, condition)
	return condition
}

func (b *bench) status(name string) v2beta1.AzureKeyVaultSecretStatus {
	b.Helper()
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "shop", Name: name}, &r))
	return r.Status
}

func TestFirstSyncWritesTheSecretAndTheStatus(t *testing.T) {
	b := newBench(t, resource("db"))
	result := b.reconcile("db")
	s := b.secret()
	assert.Equal(t, canary, string(s.Data["password"]))
	assert.Equal(t, "a", s.Labels["team"])
	require.Len(t, s.OwnerReferences, 1)
	assert.Equal(t, types.UID("uid-db"), s.OwnerReferences[0].UID)

	status := b.status("db")
	assert.Equal(t, "out", status.SecretName)
	assert.Equal(t, "v-of-c", status.VaultVersion)
	assert.Len(t, status.SecretHash, 64)
	assert.Equal(t, int64(1), status.ObservedGeneration)
	assert.True(t, status.LastAzureUpdate.Time.Equal(b.now))
	ready := b.ready("db")
	assert.Equal(t, metav1.ConditionTrue, ready.Status)
	assert.Equal(t, "Synced", ready.Reason)
	assert.Equal(t, []string{`Normal Synced Secret "out" holds version v-of-c of secret "db" of vault "kv1"`}, b.events.events)
	assert.Positive(t, result.RequeueAfter)
	assert.LessOrEqual(t, result.RequeueAfter, 30*time.Second)
	assert.NotContains(t, fmt.Sprint(status, b.events.events), canary)
}

func TestUnchangedCostsNoWriteAndNoVaultCallBeforeItIsDue(t *testing.T) {
	b := newBench(t, resource("db"))
	result := b.reconcile("db")
	writes, looks := len(b.writes), b.looks
	again := b.reconcile("db")
	assert.Len(t, b.vault.calls, 1, "not due yet: our own writes must not cost a call")
	assert.Equal(t, result.RequeueAfter, again.RequeueAfter)
	for range 5 {
		b.now = b.now.Add(30 * time.Second)
		b.reconcile("db")
	}
	assert.Len(t, b.vault.calls, 6, "one look each interval")
	assert.Len(t, b.writes, writes, "nothing changed, nothing is written")
	assert.Equal(t, looks, b.looks, "nor is the output read: nobody else has a part in it, and its version is the same")
	assert.Len(t, b.events.events, 1)
}

func TestALookThatIsMerelyDueWaitsForWhatIsNew(t *testing.T) {
	b := newBench(t, resource("db"))
	for range 2 { // after a sync, and after a reconcile without a sync
		result := b.reconcile("db")
		require.NotNil(t, result.Priority)
		assert.Less(t, *result.Priority, handler.LowPriority, "which first syncs have")
	}
}

func TestAnOutputThatOthersFeedTooIsLookedAtEachTime(t *testing.T) {
	other := resource("other")
	other.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("db"), other)
	for range 2 {
		b.reconcile("db")
		b.reconcile("other")
		b.now = b.now.Add(30 * time.Second)
	}
	looks := b.looks
	b.reconcile("db")
	assert.Greater(t, b.looks, looks, "the other one may be gone, and have left its key")
}

func TestARotatedValueIsWrittenOnce(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	before := b.status("db")
	b.vault.value, b.now = "rotated", b.now.Add(30*time.Second)
	b.reconcile("db")
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
	after := b.status("db")
	assert.NotEqual(t, before.SecretHash, after.SecretHash)
	assert.True(t, after.LastAzureUpdate.Time.Equal(b.now))
	assert.Len(t, b.events.events, 2)
}

func TestAHandMadeEditIsRepaired(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	s := b.secret()
	s.Data["password"], s.Data["mine"] = []byte("edited"), []byte("x")
	require.NoError(t, b.client.Update(t.Context(), s))
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Equal(t, "x", string(b.secret().Data["mine"]), "keys of others stay")

	require.NoError(t, b.client.Delete(t.Context(), b.secret()))
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]))
}

func TestAFailureKeepsTheLastGoodSecret(t *testing.T) {
	kinds := map[fault.Kind]struct {
		event    string
		min, max time.Duration
	}{
		fault.NotFound:        {"Warning ErrAzureVault", 0, 30 * time.Second},
		fault.Disabled:        {"Warning ErrAzureVault", 0, 30 * time.Second},
		fault.Malformed:       {"Warning ErrAzureVault", 0, 30 * time.Second},
		fault.Denied:          {"Warning ErrAzureVault", 2 * time.Second, 2 * time.Second},
		fault.Unauthenticated: {"Warning ErrAzureVault", 2 * time.Second, 2 * time.Second},
		fault.Unavailable:     {"Warning ErrAzureVault", time.Second, time.Second},
		fault.Throttled:       {"Warning ErrAzureVault", 2 * time.Second, 2 * time.Second},
	}
	for kind, want := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.reconcile("db")
			good := b.status("db")
			b.vault.next, b.now = fault.New(kind, "reading it: no"), b.now.Add(30*time.Second)
			result := b.reconcile("db")
			assert.Equal(t, canary, string(b.secret().Data["password"]))
			assert.GreaterOrEqual(t, result.RequeueAfter, want.min)
			assert.LessOrEqual(t, result.RequeueAfter, want.max)
			ready := b.ready("db")
			assert.Equal(t, metav1.ConditionFalse, ready.Status)
			assert.Equal(t, kind.Reason(), ready.Reason)
			assert.Equal(t, "reading it: no", ready.Message)
			status := b.status("db")
			assert.Equal(t, good.SecretHash, status.SecretHash, "the rest of the status is about the last good output")
			require.Len(t, b.events.events, 2)
			assert.Contains(t, b.events.events[1], want.event)

			writes := len(b.writes)
			b.now = b.now.Add(time.Hour)
			b.reconcile("db")
			assert.Len(t, b.writes, writes, "the same failure again is not written again")
			assert.Len(t, b.events.events, 2)

			b.vault.next, b.now = nil, b.now.Add(time.Hour)
			b.reconcile("db")
			assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status, "recovery")
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	b := newBench(t, resource("db"))
	b.vault.next = &fault.Error{Kind: fault.Throttled, Operation: "reading", RetryAfter: 42 * time.Second}
	wait := b.reconcile("db").RequeueAfter
	assert.True(t, wait >= 42*time.Second && wait < 52*time.Second, "%s: spread, so that not all come back in one moment", wait)
	b.now = b.now.Add(41 * time.Second)
	b.reconcile("db")
	assert.Len(t, b.vault.calls, 1, "no call inside the window that the vault asked for")
}

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	b := newBench(t, resource("db"))
	b.vault.next = fault.New(fault.Denied, "reading: 403")
	var waits []time.Duration
	for range 20 {
		wait := b.reconcile("db").RequeueAfter
		waits = append(waits, wait)
		b.now = b.now.Add(wait)
	}
	assert.Equal(t, []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second}, waits[:3])
	assert.Equal(t, time.Minute, waits[9], "a role that was granted may take ten minutes to count")
	assert.Equal(t, 5*time.Minute, waits[19])
}

func TestAnInvalidSpecCostsNoVaultCall(t *testing.T) {
	r := resource("db")
	r.Spec.Output.Secret.DataKey = ""
	b := newBench(t, r)
	result := b.reconcile("db")
	assert.Empty(t, b.vault.calls)
	assert.Equal(t, "InvalidSpec", b.ready("db").Reason)
	assert.Contains(t, b.ready("db").Message, "spec.output.secret.dataKey")
	assert.Greater(t, result.RequeueAfter, 24*time.Hour, "terminal until somebody changes it")
}

func TestAForeignSecretIsNotTouched(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "out"}, Data: map[string][]byte{"a": []byte("b")},
		Type: corev1.SecretTypeOpaque}
	b := newBench(t, resource("db"), foreign)
	result := b.reconcile("db")
	assert.Equal(t, map[string][]byte{"a": []byte("b")}, b.secret().Data)
	assert.Equal(t, "TargetConflict", b.ready("db").Reason)
	require.Len(t, b.events.events, 1)
	assert.Contains(t, b.events.events[0], "Warning ErrResourceExists")
	assert.Equal(t, 10*time.Second, result.RequeueAfter)
	b.now = b.now.Add(10 * time.Second)
	b.reconcile("db")
	require.Len(t, b.events.events, 1, "nothing was written, so there is nothing new")

	s := b.secret()
	s.Annotations = map[string]string{"akv2k8s.io/adopt": "true"}
	require.NoError(t, b.client.Update(t.Context(), s))
	b.now = b.now.Add(20 * time.Second)
	b.reconcile("db")
	assert.Equal(t, canary, string(b.secret().Data["password"]), "handed over by annotation")
	assert.Equal(t, "b", string(b.secret().Data["a"]))
}

func TestTheElderResourceKeepsAContestedKey(t *testing.T) {
	younger := resource("younger")
	younger.CreationTimestamp = metav1.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	for name, order := range map[string][]string{"the elder first": {"elder", "younger"}, "the younger first": {"younger", "elder", "younger"}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("elder"), younger.DeepCopy())
			for _, r := range order {
				b.now = b.now.Add(time.Minute)
				b.reconcile(r)
			}
			assert.Equal(t, "TargetConflict", b.ready("younger").Reason)
			assert.Contains(t, b.ready("younger").Message, `"elder"`)
			assert.Equal(t, metav1.ConditionTrue, b.ready("elder").Status)
		})
	}
}

func TestTwoResourcesFeedOneSecretWithDifferentKeys(t *testing.T) {
	second := resource("second")
	second.Spec.Output.Secret.DataKey = "user"
	b := newBench(t, resource("first"), second)
	b.reconcile("first")
	b.reconcile("second")
	assert.Len(t, b.secret().Data, 2)
	assert.Len(t, b.secret().OwnerReferences, 2)
}

func TestARenamedDataKeyLeavesNothingBehind(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, &r))
	r.Spec.Output.Secret.DataKey, r.Generation = "renamed", 2
	require.NoError(t, b.client.Update(t.Context(), &r))
	b.reconcile("db")
	assert.Equal(t, map[string][]byte{"renamed": []byte(canary)}, b.secret().Data)
}

func TestARefusalOfTheAPIServerIsToldWithoutTheValue(t *testing.T) {
	b := newBench(t, resource("db"))
	b.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "out",
		errors.New(`ValidatingAdmissionPolicy 'no-passwords' with binding 'all' denied request: value `+canary))
	b.reconcile("db")
	ready := b.ready("db")
	assert.Equal(t, "TargetConflict", ready.Reason)
	assert.Contains(t, ready.Message, "no-passwords")
	assert.NotContains(t, ready.Message, canary)
}

func TestWhatAnAdmissionWebhookQuotesIsNotPassedOn(t *testing.T) {
	const secret = "Q7<&>\"'\n\\9z"
	for name, quoted := range map[string]string{"as it is": secret, "in JSON": `Q7\u003c\u0026\u003e\"'\n\\9z`, "a prefix": "Q7<", "in base64url": "UTc8Jj4iJwpcOXo",
		"in hex": "51373c26"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, resource("db"))
			b.vault.value = secret
			b.refuse = &apierrors.StatusError{ErrStatus: metav1.Status{Status: "Failure", Code: 400, Reason: metav1.StatusReason(quoted),
				Message: `admission webhook "no.example.org" denied the request: ` + quoted}}
			var logged bytes.Buffer
			ctx := log.IntoContext(t.Context(), funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{Verbosity: 9}))
			_, err := b.controller.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
			require.NoError(t, err)
			shown := fmt.Sprintf("%v %+v %v", b.events.events, b.status("db").Conditions, logged.String())
			assert.NotContains(t, shown, quoted)
			assert.Contains(t, shown, "no.example.org")
			assert.NotEmpty(t, logged.String())
			assert.Equal(t, "TargetConflict", b.ready("db").Reason)
		})
	}
}

func TestAnUnclassifiedErrorIsReturnedAndItsTextKeptOutOfTheStatus(t *testing.T) {
	b := newBench(t, resource("db"))
	b.refuse = errors.New("boom " + canary)
	_, err := b.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "db"}})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), canary)
	assert.Equal(t, "InternalError", b.ready("db").Reason)
	assert.NotContains(t, b.ready("db").Message, "boom")

	b.refuse, b.vault.next = nil, errors.New("boom "+canary)
	b.now = b.now.Add(time.Minute)
	_, err = b.controller.Reconcile(t.Context(), requestForDB())
	require.Error(t, err)
	assert.NotContains(t, fmt.Sprint(b.status("db"), b.events.events), "boom", "what nobody classified may quote anything")
}

func TestAStatusThatCannotBeWrittenBecauseItsResourceIsGoneIsNoError(t *testing.T) {
	b := newBench(t, resource("db"))
	b.refuseStatus = apierrors.NewNotFound(schema.GroupResource{}, "db")
	b.reconcile("db")
	b.refuseStatus, b.now = errors.New("no answer"), b.now.Add(time.Minute)
	_, err := b.controller.Reconcile(t.Context(), requestForDB())
	assert.ErrorContains(t, err, "no answer")
}

func TestAFailureForAnotherReasonIsToldToo(t *testing.T) {
	b := newBench(t, resource("db"))
	for _, kind := range []fault.Kind{fault.Denied, fault.NotFound, fault.NotFound} {
		b.vault.next = fault.New(kind, "reading it: no")
		b.reconcile("db")
		b.now = b.now.Add(time.Minute)
	}
	assert.Equal(t, []string{"Warning ErrAzureVault reading it: no", "Warning ErrAzureVault reading it: no"}, b.events.events)
}

func TestResourcesWithNothingToDoAreLeftAlone(t *testing.T) {
	podsOnly := resource("db")
	podsOnly.Spec.Output = nil
	going := resource("going")
	going.Finalizers, going.DeletionTimestamp = []string{"x/y"}, &metav1.Time{Time: time.Unix(1, 0)}
	b := newBench(t, podsOnly, going)
	for _, name := range []string{"db", "going", "absent"} {
		assert.Zero(t, b.reconcile(name).RequeueAfter, name)
	}
	assert.Empty(t, b.vault.calls)
	assert.Empty(t, b.writes)
}

func TestMetricsKeepTheirNamesAndLabels(t *testing.T) {
	b := newBench(t, resource("db"))
	b.reconcile("db")
	b.vault.next, b.now = fault.New(fault.Denied, "no"), b.now.Add(time.Minute)
	b.reconcile("db")
	want := `
# HELP akv2k8s_syncs_failed_total Failed syncs of AzureKeyVaultSecrets and reads of the vault.
# TYPE akv2k8s_syncs_failed_total counter
akv2k8s_syncs_failed_total{object="AzureKeyVault",operation="sync"} 1
akv2k8s_syncs_failed_total{object="AzureKeyVaultSecret",operation="sync"} 1
# HELP akv2k8s_syncs_total Syncs of AzureKeyVaultSecrets and reads of the vault.
# TYPE akv2k8s_syncs_total counter
akv2k8s_syncs_total{object="AzureKeyVault",operation="update"} 2
akv2k8s_syncs_total{object="AzureKeyVaultSecret",operation="add"} 1
akv2k8s_syncs_total{object="AzureKeyVaultSecret",operation="update"} 1
`
	assert.NoError(t, testutil.GatherAndCompare(b.registry, bytes.NewBufferString(want)))
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	whole := newBench(t).controller.Config
	for name, remove := range map[string]func(*controller.Config){
		"Client":    func(c *controller.Config) { c.Client = nil },
		"APIReader": func(c *controller.Config) { c.APIReader = nil },
		"Vault":     func(c *controller.Config) { c.Vault = nil },
		"Events":    func(c *controller.Config) { c.Events = nil },
		"Hasher":    func(c *controller.Config) { c.Hasher = nil },
		"Metrics":   func(c *controller.Config) { c.Metrics = nil },
		"Clock":     func(c *controller.Config) { c.Clock = nil },
	} {
		part := whole
		remove(&part)
		_, err := controller.New(part)
		require.EqualError(t, err, "controller.New: missing or invalid: "+name)
	}
	whole.RefreshInterval = time.Millisecond
	_, err := controller.New(whole)
	require.ErrorContains(t, err, "azureKeyVaultResyncPeriod")
	whole.RefreshInterval, whole.FetchTimeout = time.Minute, 0
	_, err = controller.New(whole)
	require.ErrorContains(t, err, "FetchTimeout")
}

func TestLooksAreSpreadOverTheInterval(t *testing.T) {
	var objects []client.Object
	for i := range 100 {
		r := resource(fmt.Sprintf("r%d", i))
		r.Spec.Output.Secret.DataKey = r.Name
		objects = append(objects, r)
	}
	b := newBench(t, objects...)
	thirds := map[int]int{}
	for _, o := range objects {
		thirds[int(b.reconcile(o.GetName()).RequeueAfter/(10*time.Second+1))]++
	}
	for third := range 3 {
		assert.Greater(t, thirds[third], 15, "all were created at once; each third of the interval gets its share")
	}
}
