package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const (
	token  = "head.canary-token-77.signature"
	canary = "canary-value-31"
)

type fakeVault struct {
	mu sync.Mutex
	// block makes readers wait until it is closed.
	block chan struct{}
	next  error
	value string
	last  bool
	calls []keyvault.Ref
	ages  []time.Duration
}

func (v *fakeVault) Read(_ context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	if v.block != nil {
		<-v.block
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls, v.ages = append(v.calls, ref), append(v.ages, maxAge)
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte(v.value))}, v.next
}

func (v *fakeVault) LastGood(ref keyvault.Ref, _ time.Duration) (keyvault.Object, bool) {
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte("last known"))}, v.last
}

// brokerTest is a broker, a pod that can send requests, and the result of reviewing its token.
type brokerTest struct {
	*testing.T
	mu       sync.Mutex // of what several requests write
	vault    *fakeVault
	review   authenticationv1.TokenReviewStatus
	refuse   map[string]error
	client   client.Client
	broker   *broker.Broker
	log      bytes.Buffer
	registry *prometheus.Registry
	reviewed []authenticationv1.TokenReviewSpec
	// live changes the pod that the API server returns. It can be nil.
	live func(*corev1.Pod)
}

func newResource(name string) *v2beta1.AzureKeyVaultSecret {
	r := &v2beta1.AzureKeyVaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
	r.Spec.Vault.Name, r.Spec.Vault.Object.Name, r.Spec.Vault.Object.Type = "kv1", "object-of-"+name, "secret"
	return r
}

func newBrokerTest(t *testing.T) *brokerTest {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, v2beta1.AddToScheme(scheme))
	b := &brokerTest{T: t, vault: &fakeVault{value: canary}, registry: prometheus.NewRegistry(), refuse: map[string]error{}}
	b.review = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{wire.TokenAudience}, User: authenticationv1.UserInfo{
		Username: "system:serviceaccount:team:default", Extra: map[string]authenticationv1.ExtraValue{
			"authentication.kubernetes.io/pod-name": {"app"}, "authentication.kubernetes.io/pod-uid": {"uid-1"}}}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "uid-1"}, Spec: corev1.PodSpec{ServiceAccountName: "default",
		InitContainers: []corev1.Container{{Name: "init", Env: []corev1.EnvVar{{Name: "I", Value: "one@azurekeyvault"}}}},
		Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: "A", Value: "two@azurekeyvault"}, {Name: "B", Value: "absent@azurekeyvault"},
			{Name: "Q", Value: "one@azurekeyvault?what"}, {Name: "P", Value: "plain"}}}}}}
	b.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(pod, newResource("one"), newResource("two"), newResource("three"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: map[string]string{"inject": "yes"}}},
	).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
			review := obj.(*authenticationv1.TokenReview)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reviewed = append(b.reviewed, review.Spec)
			review.Status = b.review
			return b.refuse["review"]
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if err := b.refuse[key.Name]; err != nil {
				return err
			}
			err := c.Get(ctx, key, obj, opts...)
			if pod, ok := obj.(*corev1.Pod); ok && b.live != nil {
				b.live(pod)
			}
			return err
		},
	}).Build()
	metrics, err := broker.NewMetrics(b.registry)
	require.NoError(t, err)
	b.broker, err = broker.New(broker.Config{Live: b.client, Cached: b.client, Reviewer: b.client, Vault: b.vault, MaxAge: 10 * time.Second, MaxStaleAge: time.Hour,
		NamespaceLabel: "inject", NamespaceLabelValue: "yes", Metrics: metrics, DecodePool: decodepool.New(decodepool.Config{}),
		Log: funcr.New(func(_, args string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.log.WriteString(args + "\n")
		}, funcr.Options{Verbosity: 9})})
	require.NoError(t, err)
	return b
}

func (b *brokerTest) sendReferences(references map[string]string) *httptest.ResponseRecorder {
	body, err := json.Marshal(wire.ResolveRequest{References: references})
	require.NoError(b, err)
	return b.sendRequest(string(body), "Bearer "+token)
}

func (b *brokerTest) sendRequest(body, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, strings.NewReader(body))
	r.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	b.broker.ServeHTTP(w, r)
	for _, secret := range []string{canary, "canary-token"} {
		assert.NotContains(b, b.log.String(), secret)
	}
	return w
}

// assertError asserts the kind of an error response and a part of its message.
func (b *brokerTest) assertError(w *httptest.ResponseRecorder, kind fault.Kind, says string) {
	b.Helper()
	var answer wire.ErrorResponse
	require.NoError(b, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Equal(b, string(kind), answer.Kind)
	assert.Contains(b, answer.Message, says)
	assert.NotContains(b, w.Body.String(), "canary")
	assert.NotEqual(b, http.StatusOK, w.Code)
	assert.NoError(b, testutil.GatherAndCompare(b.registry, strings.NewReader(
		"# HELP akv2k8s_auth_requests_failed_total Failed requests of pods to the auth service, by reason.\n"+
			"# TYPE akv2k8s_auth_requests_failed_total counter\n"+
			`akv2k8s_auth_requests_failed_total{reason="`+kind.Reason()+"\"} 1\n"), "akv2k8s_auth_requests_failed_total"), "refusals are counted")
	assert.Contains(b, b.log.String(), "refused", "and logged")
}

func TestAPodGetsTheValuesOfItsOwnReferences(t *testing.T) {
	b := newBrokerTest(t)
	w := b.sendReferences(map[string]string{"I": "one@azurekeyvault", "A": "two@azurekeyvault", "AGAIN": "two@azurekeyvault"})
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var answer wire.ResolveResponse
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Equal(t, map[string][]byte{"I": []byte(canary), "A": []byte(canary), "AGAIN": []byte(canary)}, answer.Values)
	assert.Len(t, b.vault.calls, 2, "one reading for each distinct reference")
	assert.Equal(t, 10*time.Second, b.vault.ages[0])
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.Equal(t, []authenticationv1.TokenReviewSpec{{Token: token, Audiences: []string{"akv2k8s"}}}, b.reviewed)
}

func (b *brokerTest) sendCheck(references map[string]string) *httptest.ResponseRecorder {
	body, err := json.Marshal(wire.ResolveRequest{References: references, CheckOnly: true})
	require.NoError(b, err)
	return b.sendRequest(string(body), "Bearer "+token)
}

func TestACheckAnswersForAllContainersAndGivesNoValue(t *testing.T) {
	b := newBrokerTest(t)
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "side", Env: []corev1.EnvVar{{Name: "ENV_INJECTOR_REFERENCES",
			Value: `{"C":"three@azurekeyvault"}`}}})
	})
	w := b.sendCheck(map[string]string{"init/I": "one@azurekeyvault", "app/A": "two@azurekeyvault", "side/C": "three@azurekeyvault"})
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	assert.JSONEq(t, "{}", w.Body.String())
	assert.Len(t, b.vault.calls, 3, "each object is really read")
	b.vault.value = "a\x00b"
	b.assertError(b.sendCheck(map[string]string{"app/A": "two@azurekeyvault"}), fault.Malformed, "variable app/A")
}

func TestACheckIsContentWithAnOlderAnswerThanAContainer(t *testing.T) {
	b := newBrokerTest(t)
	assert.Equal(t, http.StatusOK, b.sendCheck(map[string]string{"app/A": "two@azurekeyvault"}).Code)
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"A": "two@azurekeyvault"}).Code)
	assert.Equal(t, []time.Duration{30 * time.Second, 10 * time.Second}, b.vault.ages)
	b.vault.ages, b.broker.MaxAge = nil, 0
	assert.Equal(t, http.StatusOK, b.sendCheck(map[string]string{"app/A": "two@azurekeyvault"}).Code)
	assert.Equal(t, []time.Duration{0}, b.vault.ages, "without a cache a check reads the vault")
}

func TestACheckIsAuthenticatedAndAuthorisedAsAnyRequest(t *testing.T) {
	b := newBrokerTest(t)
	b.assertError(b.sendCheck(map[string]string{"app/A": "two@azurekeyvault", "X": "three@azurekeyvault"}), fault.Denied, "variable X")
	assert.Empty(t, b.vault.calls)
	b = newBrokerTest(t)
	b.review.Authenticated = false
	b.assertError(b.sendCheck(map[string]string{"app/A": "two@azurekeyvault"}), fault.Unauthenticated, "")
}

func TestARefusalSaysWhetherWhatIsMissingMayComeLater(t *testing.T) {
	for name, c := range map[string]struct {
		reference string
		vault     error
		later     bool
	}{
		"the AzureKeyVaultSecret": {"absent@azurekeyvault", nil, true},
		"the vault's object":      {"two@azurekeyvault", fault.New(fault.NotFound, "the vault has no secret of this name"), false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, ask := range []func(*brokerTest, map[string]string) *httptest.ResponseRecorder{(*brokerTest).sendReferences, (*brokerTest).sendCheck} {
				b := newBrokerTest(t)
				b.vault.next = c.vault
				w := ask(b, map[string]string{"A": c.reference})
				b.assertError(w, fault.NotFound, "")
				var answer wire.ErrorResponse
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
				assert.Equal(t, c.later, answer.CanAppearLater)
			}
		})
	}
}

func TestWhoIsNotAPodOfOursIsRefused(t *testing.T) {
	for name, change := range map[string]func(*authenticationv1.TokenReviewStatus){
		"not authenticated": func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false },
		"another audience":  func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"https://kubernetes.default.svc"} },
		"no audience":       func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil },
		"not bound to a pod": func(s *authenticationv1.TokenReviewStatus) {
			delete(s.User.Extra, "authentication.kubernetes.io/pod-name")
		},
		"a user": func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "admin" },
		"a pod of old": func(s *authenticationv1.TokenReviewStatus) {
			s.User.Extra["authentication.kubernetes.io/pod-uid"] = []string{"uid-0"}
		},
		"another account": func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:team:other" },
		"a pod that is gone": func(s *authenticationv1.TokenReviewStatus) {
			s.User.Extra["authentication.kubernetes.io/pod-name"] = []string{"gone"}
		},
		"a namespace of none": func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:nowhere:default" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			change(&b.review)
			b.assertError(b.sendReferences(map[string]string{"A": "two@azurekeyvault"}), fault.Unauthenticated, "")
			assert.Empty(t, b.vault.calls)
		})
	}
	for _, authorization := range []string{"", "Bearer ", "Basic " + token, "Bearer nodots", "Bearer " + strings.Repeat("a", 20000) + ".b.c"} {
		b := newBrokerTest(t)
		b.assertError(b.sendRequest(`{"references":{"A":"two@azurekeyvault"}}`, authorization), fault.Unauthenticated, "no service-account token")
		assert.Empty(t, b.reviewed, "the API server is not bothered")
	}
}

func TestWhatIsNotInThePodsOwnSpecIsDenied(t *testing.T) {
	for name, reference := range map[string]string{
		"an object of the namespace": "three@azurekeyvault", "another query": "two@azurekeyvault?x", "nothing": "", "plain text of the pod's": "plain",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			kind, says := fault.Denied, "variable X: pod \"app\" was not created with this reference"
			if reference == "plain" {
				kind, says = fault.Invalid, "meant as a reference"
			}
			b.assertError(b.sendReferences(map[string]string{"A": "two@azurekeyvault", "X": reference}), kind, says)
			if kind == fault.Denied {
				assert.Empty(t, b.vault.calls, "all or nothing, before the vault is asked")
			}
		})
	}
}

func TestANamespaceThatIsNotEnabledIsDenied(t *testing.T) {
	for name, labels := range map[string]map[string]string{"no label": nil, "another value": {"inject": "no"}, "no value": {"inject": ""}, "another label": {"other": "yes"}} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			var namespace corev1.Namespace
			require.NoError(t, b.client.Get(t.Context(), client.ObjectKey{Name: "team"}, &namespace))
			namespace.Labels = labels
			require.NoError(t, b.client.Update(t.Context(), &namespace))
			b.assertError(b.sendReferences(map[string]string{"A": "two@azurekeyvault"}), fault.Denied, "label it inject=yes")
		})
	}
}

func TestWhatCannotBeAnsweredSaysWhy(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "app", errors.New("no"))
	for name, c := range map[string]struct {
		prepare func(*brokerTest)
		ask     string
		kind    fault.Kind
		says    string
	}{
		"an absent AzureKeyVaultSecret": {nil, "absent@azurekeyvault", fault.NotFound, `no AzureKeyVaultSecret "absent" in namespace "team"; create it`},
		"an unknown query":              {nil, "one@azurekeyvault?what", fault.Invalid, "query"},
		"the vault denies": {func(b *brokerTest) { b.vault.next = fault.New(fault.Denied, "grant the role") }, "two@azurekeyvault", fault.Denied,
			"variable A (two@azurekeyvault): grant the role"},
		"the vault is away": {func(b *brokerTest) { b.vault.next = fault.New(fault.Unavailable, "away") }, "two@azurekeyvault", fault.Unavailable, "away"},
		"a denial is not hidden by what is remembered": {func(b *brokerTest) { b.vault.next, b.vault.last = fault.New(fault.Denied, "no"), true },
			"two@azurekeyvault", fault.Denied, "no"},
		"a value with a NUL byte": {func(b *brokerTest) { b.vault.value = "a\x00b" }, "two@azurekeyvault", fault.Malformed, "base64"},
		"no review":               {func(b *brokerTest) { b.refuse["review"] = errors.New("down after " + token) }, "two@azurekeyvault", fault.Unavailable, "review"},
		"no pod":                  {func(b *brokerTest) { b.refuse["app"] = errors.New("down") }, "two@azurekeyvault", fault.Unavailable, "pod"},
		"pods forbidden":          {func(b *brokerTest) { b.refuse["app"] = forbidden }, "two@azurekeyvault", fault.Denied, "helm upgrade"},
		"resources unread":        {func(b *brokerTest) { b.refuse["two"] = errors.New("down") }, "two@azurekeyvault", fault.Unavailable, `"two"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			if c.prepare != nil {
				c.prepare(b)
			}
			b.assertError(b.sendReferences(map[string]string{"A": c.ask}), c.kind, c.says)
		})
	}
}

// recreatePod replaces the pod by a new one, as admission would have left it.
func (b *brokerTest) recreatePod(change func(*corev1.Pod)) {
	b.Helper()
	var pod corev1.Pod
	require.NoError(b, b.client.Get(b.Context(), types.NamespacedName{Namespace: "team", Name: "app"}, &pod))
	change(&pod)
	require.NoError(b, b.client.Update(b.Context(), &pod))
}

func TestWhatAdmissionRecordedIsAllowedAndNothingElse(t *testing.T) {
	b := newBrokerTest(t)
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_REFERENCES", Value: `{"odd \u0024(X)":"three@azurekeyvault"}`})
	})
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"X": "three@azurekeyvault"}).Code)
	image := newBrokerTest(t)
	image.assertError(image.sendReferences(map[string]string{"I": "three@azurekeyvault"}), fault.Denied, "recreate the pod")
	image.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_IMAGE_REFERENCES", Value: `{"I":"three@azurekeyvault"}`})
	})
	assert.Equal(t, http.StatusOK, image.sendReferences(map[string]string{"I": "three@azurekeyvault"}).Code, "of the image too")
	another := newBrokerTest(t)
	another.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "SETTINGS", Value: `{"I":"three@azurekeyvault"}`})
	})
	another.assertError(another.sendReferences(map[string]string{"I": "three@azurekeyvault"}), fault.Denied, "recreate the pod")
	b.assertError(b.sendReferences(map[string]string{"X": "three@azurekeyvault?other"}), fault.Denied, "recreate the pod")
}

func TestAnOpenPodStaysOpenWhateverAnotherContainerSays(t *testing.T) {
	b := newBrokerTest(t)
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.InitContainers[0].Env = append(pod.Spec.InitContainers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_ALLOW_UNRECORDED", Value: "true"})
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_ALLOW_UNRECORDED", Value: "false"})
	})
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"X": "three@azurekeyvault"}).Code)
}

func TestAnAddressThatSendsTooMuchIsAskedToComeBack(t *testing.T) {
	b := newBrokerTest(t)
	w := httptest.NewRecorder()
	b.broker.RejectRequest(w, httptest.NewRequest(http.MethodPost, wire.ResolvePath, http.NoBody))
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
	assert.Contains(t, w.Body.String(), "too many requests from this pod's address")
	assert.Contains(t, w.Body.String(), `"kind":"Throttled"`)
	assert.InDelta(t, 1, testutil.ToFloat64(findCollector(t, b.registry, "akv2k8s_auth_requests_failed_total")), 0)
}

func TestABodyThatIsCutOffIsRefused(t *testing.T) {
	b := newBrokerTest(t)
	r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"references":{}}`))))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	b.broker.ServeHTTP(w, r)
	b.assertError(w, fault.Invalid, "cut off")
}

func TestAPodWhoseSourceWasMissingMayAskForWhatItsNamespaceHas(t *testing.T) {
	b := newBrokerTest(t)
	b.recreatePod(func(pod *corev1.Pod) {
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d",
			Env: []corev1.EnvVar{{Name: "ENV_INJECTOR_ALLOW_UNRECORDED", Value: "true"}}}}}
	})
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"X": "three@azurekeyvault"}).Code)
	assert.InDelta(t, 1, testutil.ToFloat64(findCollector(t, b.registry, "akv2k8s_auth_unrecorded_references_total")), 0, "and it is counted")
	assert.InDelta(t, 1, testutil.ToFloat64(findCollector(t, b.registry, "akv2k8s_auth_requests_total")), 0, "as a request too")
	b.assertError(b.sendReferences(map[string]string{"X": "elsewhere/three@azurekeyvault"}), fault.Invalid, "variable X")
}

func TestOnePodCannotTakeThePlaceOfAllOthers(t *testing.T) {
	b := newBrokerTest(t)
	b.vault.block = make(chan struct{})
	var group sync.WaitGroup
	codes := make(chan int, 20)
	for range 20 {
		group.Go(func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, strings.NewReader(`{"references":{"A":"two@azurekeyvault"}}`))
			r.Header.Set("Authorization", "Bearer "+token)
			b.broker.ServeHTTP(w, r)
			codes <- w.Code
		})
	}
	for range 12 { // the others wait for the vault
		assert.Equal(t, http.StatusTooManyRequests, <-codes)
	}
	close(b.vault.block)
	group.Wait()
	for range 8 {
		assert.Equal(t, http.StatusOK, <-codes)
	}
	assert.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"A": "two@azurekeyvault"}).Code, "and after that it is as before")
}

func TestThePodIsToldThatAValueIsOld(t *testing.T) {
	b := newBrokerTest(t)
	told := events.NewFakeRecorder(10)
	b.broker.Events = told
	require.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"A": "two@azurekeyvault"}).Code)
	b.vault.next, b.vault.last = fault.New(fault.Unavailable, "away"), true
	require.Equal(t, http.StatusOK, b.sendReferences(map[string]string{"A": "two@azurekeyvault", "I": "one@azurekeyvault"}).Code)
	require.Len(t, told.Events, 1, "one event for a request, and none if nothing is old")
	text := <-told.Events
	assert.Contains(t, text, "Warning StaleValue")
	assert.NotContains(t, text, canary)
}

func TestWhileTheVaultIsAwayTheLastValueServes(t *testing.T) {
	b := newBrokerTest(t)
	b.vault.next, b.vault.last = &fault.Error{Kind: fault.Throttled, Operation: "reading", RetryAfter: 1500 * time.Millisecond}, true
	w := b.sendReferences(map[string]string{"A": "two@azurekeyvault"})
	require.Equal(t, http.StatusOK, w.Code)
	assert.InDelta(t, 1, testutil.ToFloat64(findCollector(t, b.registry, "akv2k8s_auth_stale_answers_total")), 0)
	b.vault.last = false
	w = b.sendReferences(map[string]string{"A": "two@azurekeyvault"})
	assert.Contains(t, w.Body.String(), `"retryAfterSeconds":2`, "what the vault asked for reaches the pod, rounded up")
	assert.Equal(t, http.StatusTooManyRequests, w.Code)
}

// findCollector finds a counter of the registry by name.
func findCollector(t *testing.T, registry *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "copy"})
			g.Set(family.GetMetric()[0].GetCounter().GetValue())
			return g
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

func TestBadRequestsAreRefusedWithoutQuotingThem(t *testing.T) {
	for name, body := range map[string]string{"empty": "", "not JSON": canary, "no references": "{}",
		"too long": `{"references":{"A":"` + strings.Repeat("a", limits.AuthRequestBytes) + `"}}`} {
		t.Run(name, func(t *testing.T) {
			b := newBrokerTest(t)
			b.assertError(b.sendRequest(body, "Bearer "+token), fault.Invalid, "the request")
		})
	}
	b := newBrokerTest(t)
	for method, path := range map[string]string{http.MethodGet: wire.ResolvePath, http.MethodPost: "/auth/team/app"} {
		w := httptest.NewRecorder()
		b.broker.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		assert.Equal(t, http.StatusNotFound, w.Code)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	config := newBrokerTest(t).broker.Config
	for name, without := range map[string]func(*broker.Config){
		"live": func(c *broker.Config) { c.Live = nil }, "cached": func(c *broker.Config) { c.Cached = nil }, "reviewer": func(c *broker.Config) { c.Reviewer = nil },
		"vault": func(c *broker.Config) { c.Vault = nil }, "metrics": func(c *broker.Config) { c.Metrics = nil }, "label": func(c *broker.Config) { c.NamespaceLabel = "" },
	} {
		c := config
		without(&c)
		_, err := broker.New(c)
		assert.ErrorContains(t, err, "broker.New: missing or invalid: ", name)
	}
	negative := config
	negative.MaxAge = -1
	_, err := broker.New(negative)
	assert.ErrorContains(t, err, "cache.maxAge")
	config.MaxAge = 2 * time.Hour
	_, err = broker.New(config)
	assert.ErrorContains(t, err, "cache.maxAge")
}
