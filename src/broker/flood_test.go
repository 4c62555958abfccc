package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/broker"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// fakeCluster is a cluster with any number of namespaces and pods: a token "NAMESPACE.POD.x" is that pod's. Namespaces that
// begin with "unlabelled" are not enabled, resources that begin with "absent" do not exist, and vaults of namespaces
// that begin with "slow" do not answer.
type fakeCluster struct {
	client.Writer
	*testing.T
	broker *broker.Broker
	events *events.FakeRecorder
	env    []corev1.EnvVar
	value  string
	stale  bool
	// reviewed is the result of every token review, if it is set.
	reviewed *authenticationv1.UserInfo
	// now is the broker's clock; zero is the machine's.
	now time.Time
	// hold makes slow vaults, and reviews of namespaces that begin with "hanging", wait until it is closed.
	hold chan struct{}

	mu           sync.Mutex
	lines        []string
	reads        int
	calls, worst int
	reviews      int
}

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	c := &fakeCluster{T: t, hold: make(chan struct{}), value: canary, events: events.NewFakeRecorder(1000),
		env: []corev1.EnvVar{{Name: "A", Value: "one@azurekeyvault"}}}
	metrics, err := broker.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	log := funcr.New(func(_, line string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines = append(c.lines, line)
	}, funcr.Options{})
	c.broker, err = broker.New(broker.Config{Live: c, Cached: emptyCache{}, Reviewer: c, Vault: c, MaxAge: time.Second, MaxStaleAge: time.Hour, NamespaceLabel: "inject", NamespaceLabelValue: "yes",
		Metrics: metrics, Log: log, Events: c.events, Clock: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.now.IsZero() {
				return time.Now()
			}
			return c.now
		}})
	require.NoError(t, err)
	return c
}

// emptyCache is an empty cache.
type emptyCache struct{ client.Reader }

func (emptyCache) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (c *fakeCluster) Create(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
	review := object.(*authenticationv1.TokenReview)
	parts := strings.Split(review.Spec.Token, ".")
	if c.reviewed != nil {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{wire.TokenAudience}, User: *c.reviewed}
		return nil
	}
	c.mu.Lock()
	c.reviews++
	c.mu.Unlock()
	if strings.HasPrefix(parts[0], "hanging") {
		select {
		case <-c.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: []string{wire.TokenAudience}, User: authenticationv1.UserInfo{
		Username: "system:serviceaccount:" + parts[0] + ":default", Extra: map[string]authenticationv1.ExtraValue{
			"authentication.kubernetes.io/pod-name": {parts[1]}, "authentication.kubernetes.io/pod-uid": {parts[0] + "/" + parts[1]}}}}
	return nil
}

func (c *fakeCluster) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nothing is listed")
}

func (c *fakeCluster) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	switch o := object.(type) {
	case *metav1.PartialObjectMetadata:
		if !strings.HasPrefix(key.Name, "unlabelled") {
			o.Labels = map[string]string{"inject": "yes"}
		}
	case *corev1.Pod:
		o.UID = types.UID(key.Namespace + "/" + key.Name)
		o.Spec = corev1.PodSpec{ServiceAccountName: "default", Containers: []corev1.Container{{Env: c.env}}}
	case *v2beta1.AzureKeyVaultSecret:
		c.mu.Lock()
		c.reads++
		c.mu.Unlock()
		if strings.HasPrefix(key.Name, "absent") {
			return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
		}
		o.Name, o.Namespace = key.Name, key.Namespace
		o.Spec.Vault.Name, o.Spec.Vault.Object.Name, o.Spec.Vault.Object.Type = key.Namespace, "object", "secret"
	}
	return nil
}

func (c *fakeCluster) Read(ctx context.Context, ref keyvault.Ref, _ time.Duration) (keyvault.Object, error) {
	c.mu.Lock()
	c.calls++
	c.worst = max(c.worst, c.calls)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.calls--
		c.mu.Unlock()
	}()
	if strings.HasPrefix(ref.Vault, "slow") {
		select {
		case <-c.hold:
		case <-ctx.Done():
		}
	}
	if c.stale {
		return keyvault.Object{}, fault.New(fault.Unavailable, "the vault is away")
	}
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte(c.value))}, nil
}

func (c *fakeCluster) LastGood(ref keyvault.Ref, _ time.Duration) (keyvault.Object, bool) {
	return keyvault.Object{Ref: ref, Value: keyvault.NewValue([]byte(c.value))}, c.stale
}

// sendAsPod sends a request of a pod, which has an address of its own.
func (c *fakeCluster) sendAsPod(namespace, pod string, body io.Reader, w http.ResponseWriter) {
	r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, body)
	var hash uint32
	for _, b := range []byte(namespace + "/" + pod) {
		hash = hash*31 + uint32(b)
	}
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", byte(hash>>16), byte(hash>>8), byte(hash))
	r.Header.Set("Authorization", "Bearer "+namespace+"."+pod+".x")
	c.broker.ServeHTTP(w, r)
}

func (c *fakeCluster) sendReferences(namespace, pod string, references map[string]string) (int, wire.ErrorResponse) {
	body, err := json.Marshal(wire.ResolveRequest{References: references})
	require.NoError(c, err)
	w := httptest.NewRecorder()
	c.sendAsPod(namespace, pod, strings.NewReader(string(body)), w)
	var refusal wire.ErrorResponse
	require.NoError(c, json.Unmarshal(w.Body.Bytes(), &refusal))
	return w.Code, refusal
}

// usualReferences is the request of an ordinary pod.
func usualReferences() map[string]string { return map[string]string{"A": "one@azurekeyvault"} }

// waitUntil waits until a condition holds that goroutines of the test bring about.
func (c *fakeCluster) waitUntil(what string, is func() bool) {
	c.Helper()
	require.Eventually(c, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return is()
	}, 20*time.Second, 2*time.Millisecond, what)
}

// unread is a body that must not be read.
type unread struct{ *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.Error("the body was read")
	return 0, io.EOF
}

func TestOfANamespaceThatIsNotEnabledNoBodyIsRead(t *testing.T) {
	c := newFakeCluster(t)
	w := httptest.NewRecorder()
	c.sendAsPod("unlabelled", "p", unread{t}, w)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Contains(t, w.Body.String(), "label it inject=yes")
}

func TestBodiesThatDoNotComeKeepNobodyElseOut(t *testing.T) {
	c := newFakeCluster(t)
	body, never := io.Pipe()
	var group sync.WaitGroup
	for n := range 450 {
		group.Go(func() { c.sendAsPod(fmt.Sprintf("drip-%d", n%3), fmt.Sprint(n/3), body, httptest.NewRecorder()) })
	}
	c.waitUntil("all drip", func() bool { return c.reviews == 450 })
	for n := range 20 {
		code, refusal := c.sendReferences("modest", fmt.Sprint(n), usualReferences())
		assert.Equal(t, http.StatusOK, code, refusal.Message)
	}
	require.NoError(t, never.Close())
	group.Wait()
}

func TestSlowVaultsOfSomeNamespacesKeepNobodyElseOut(t *testing.T) {
	c := newFakeCluster(t)
	codes := make(chan int, 500)
	for n := range 500 {
		go func() {
			code, _ := c.sendReferences(fmt.Sprintf("slow-%d", n%5), fmt.Sprint(n/5), usualReferences())
			codes <- code
		}()
	}
	refused := 0
	c.waitUntil("what is not let in is refused", func() bool {
		for len(codes) > 0 {
			assert.Equal(t, http.StatusTooManyRequests, <-codes)
			refused++
		}
		return c.calls+refused == 500
	})
	for n := range 20 {
		code, refusal := c.sendReferences("modest", fmt.Sprint(n), usualReferences())
		assert.Equal(t, http.StatusOK, code, refusal.Message)
	}
	assert.Less(t, c.worst, limits.AuthSlots)
	assert.Greater(t, c.worst, limits.AuthSlots/2, "places are used")
	close(c.hold)
	for range 500 - refused {
		assert.Equal(t, http.StatusOK, <-codes)
	}
	code, _ := c.sendReferences("slow-0", "later", usualReferences())
	assert.Equal(t, http.StatusOK, code, "and they are given back")
}

func TestANamespaceAloneGetsHalfOfThePlacesAndAPodEight(t *testing.T) {
	for name, share := range map[string]struct {
		pods, places int
		says         string
	}{"namespace": {400, limits.AuthSlots / 2, `from namespace "slow" (its share of 256)`}, "pod": {1, limits.AuthSlotsPerPod, `from pod "0" (limit 8)`}} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t)
			refusals := make(chan wire.ErrorResponse, 400)
			for n := range 400 {
				go func() {
					if code, refusal := c.sendReferences("slow", fmt.Sprint(n%share.pods), usualReferences()); code == http.StatusTooManyRequests {
						refusals <- refusal
					}
				}()
			}
			for range 400 - share.places {
				refusal := <-refusals
				assert.Contains(t, refusal.Message, share.says)
				assert.Equal(t, 1, refusal.RetryAfterSeconds)
			}
			c.waitUntil("the others wait for the vault", func() bool { return c.calls == share.places })
			close(c.hold)
		})
	}
}

func TestTheBoundOfAllPlacesHoldsForAnyNumberOfNamespaces(t *testing.T) {
	c := newFakeCluster(t)
	refused := make(chan string, 1000)
	for n := range 400 {
		go func() {
			if code, refusal := c.sendReferences(fmt.Sprintf("slow-%d", n), "p", usualReferences()); code == http.StatusTooManyRequests {
				refused <- refusal.Message
			}
		}()
	}
	for range 400 - limits.AuthSlots {
		<-refused
	}
	c.waitUntil("the others wait for the vault", func() bool { return c.calls == limits.AuthSlots })
	close(c.hold)
}

func TestAnAPIServerThatHangsForStrangersAnswersOthers(t *testing.T) {
	c := newFakeCluster(t)
	done := make(chan int, 200)
	for n := range 200 {
		go func() { // all of two addresses
			code, _ := c.sendReferences("hanging", fmt.Sprint(n%2), usualReferences())
			done <- code
		}()
	}
	// Alone, the first address has a half, the second one half of the rest; in turns each has a third.
	c.waitUntil("both have their shares", func() bool { return c.reviews >= limits.AuthIdentificationsAtOnce*5/8 })
	code, _ := c.sendReferences("modest", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code)
	assert.Less(t, c.reviews, limits.AuthIdentificationsAtOnce)
	close(c.hold)
	for range 200 {
		<-done
	}
}

func TestReviewsPerSecondAreSharedByAddresses(t *testing.T) {
	c := newFakeCluster(t)
	c.now = time.Unix(1_000_000, 0)
	for range 2000 {
		c.sendAsPod("flood", "p", strings.NewReader("{}"), httptest.NewRecorder())
	}
	assert.Equal(t, limits.AuthIdentificationsPerSecond/2, c.reviews)
	code, _ := c.sendReferences("modest", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code)
	c.mu.Lock()
	c.now = c.now.Add(time.Second)
	c.mu.Unlock()
	code, _ = c.sendReferences("flood", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code, "a second later it may ask again")
}
