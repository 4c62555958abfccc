package authservice_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/v1compat/authservice"
)

// countingReader returns a pod of 1.8 for every name, and counts reads.
type countingReader struct {
	client.Reader
	mu    sync.Mutex
	reads int
	names []string
	// slow blocks every read until it is closed. nil blocks none.
	slow chan struct{}
}

func (r *countingReader) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	if r.slow != nil {
		defer func() { <-r.slow }()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	r.names = append(r.names, key.String())
	if pod, ok := object.(*corev1.Pod); ok {
		pod.Namespace, pod.Name, pod.UID = key.Namespace, key.Name, types.UID(key.String())
		pod.Spec.Volumes = []corev1.Volume{{Name: "akv2k8s-client-cert"}}
	}
	return nil
}

// rejectingHandler is a handler with the protocol disabled. It records what the handler reads, writes and logs.
type rejectingHandler struct {
	countingReader
	events eventRecorder
	lines  []string
	mux    *http.ServeMux
}

func newRejectingHandler(t *testing.T) *rejectingHandler {
	t.Helper()
	d := &rejectingHandler{mux: http.NewServeMux()}
	h, err := authservice.New(authservice.Config{Live: &d.countingReader, Events: &d.events, Registry: prometheus.NewRegistry(),
		Log: funcr.New(d.recordLine, funcr.Options{})})
	require.NoError(t, err)
	d.mux.Handle(authservice.RoutePattern, h)
	return d
}

func (d *rejectingHandler) recordLine(_, line string) {
	d.events.mu.Lock()
	defer d.events.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *rejectingHandler) sendRequest(address, path, query string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL, r.RemoteAddr = &url.URL{Path: path, RawQuery: query}, address+":1"
	w := httptest.NewRecorder()
	d.mux.ServeHTTP(w, r)
	return w
}

func TestAFloodOfLookupsLeavesSomeForOthers(t *testing.T) {
	d := newRejectingHandler(t)
	started := time.Now()
	for n := range 500 {
		assert.Equal(t, http.StatusGone, d.sendRequest("10.0.0.1", fmt.Sprintf("/auth/flood/p%d", n), "").Code)
	}
	windows := int(time.Since(started)/time.Second) + 1
	assert.LessOrEqual(t, d.reads, windows*limits.V1LookupsPerSecond/2)
	assert.LessOrEqual(t, len(d.events.events), windows*limits.V1ReportsPerSecond/2)
	assert.LessOrEqual(t, len(d.lines), windows*limits.V1ReportsPerSecond/2)
	before := len(d.events.events)
	d.sendRequest("10.0.0.2", "/auth/team/app", "")
	assert.Len(t, d.events.events, before+1, "another one is told")
}

func TestOnlySoManyLookupsGoOnAtOnce(t *testing.T) {
	d := newRejectingHandler(t)
	d.slow = make(chan struct{})
	var group sync.WaitGroup
	answered := make(chan int, 3*limits.V1RequestsAtOnce)
	for n := range 3 * limits.V1RequestsAtOnce { // each of another address, so that no share of one is used up
		group.Go(func() {
			answered <- d.sendRequest(fmt.Sprintf("10.0.%d.1", n), fmt.Sprintf("/auth/team/p%d", n), "").Code
		})
	}
	for range 2 * limits.V1RequestsAtOnce {
		assert.Equal(t, http.StatusGone, <-answered, "the others are answered without a look")
	}
	d.mu.Lock()
	assert.LessOrEqual(t, d.reads, limits.V1RequestsAtOnce)
	d.mu.Unlock()
	close(d.slow)
	group.Wait()
}

func TestStepsAreBoundedAtOnceAndInASecond(t *testing.T) {
	shares := authservice.NewLimiters()
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	var leaves []func()
	for n := range 3 * limits.V1RequestsAtOnce {
		if leave, err := shares.AcquireSlot(soon(), fmt.Sprintf("10.0.0.%d", n)); err == nil {
			leaves = append(leaves, leave)
		} else {
			assert.Equal(t, fault.Throttled, fault.KindOf(err))
			assert.ErrorContains(t, err, "too many requests of akv2k8s 1.8 pods")
		}
	}
	assert.Len(t, leaves, limits.V1RequestsAtOnce)
	for _, leave := range leaves {
		leave()
	}
	_, err := shares.AcquireSlot(soon(), "10.0.1.1")
	require.NoError(t, err, "who leaves makes room")

	shares, entered := authservice.NewLimiters(), 0
	for started := time.Now(); time.Since(started) < time.Second/2; {
		if leave, err := shares.AcquireSlot(soon(), "10.0.0.1"); err == nil {
			leave()
			entered++
		}
	}
	assert.LessOrEqual(t, entered, 2*limits.V1StepsPerSecond)
	assert.Positive(t, entered)
}

func TestWhatCanBeNoNameIsNotLookedFor(t *testing.T) {
	d := newRejectingHandler(t)
	for _, path := range []string{"/auth/team/" + strings.Repeat("a", 30_000), "/auth/" + strings.Repeat("a", 64) + "/app", "/auth/Team/app", "/auth/team/a b", "/auth/team/a_b"} {
		assert.Equal(t, http.StatusGone, d.sendRequest("10.0.0.1", path, "").Code)
	}
	assert.Zero(t, d.reads)
	assert.Empty(t, d.lines)
}

func TestAFloodOfFirstStepsIsAnsweredInTurns(t *testing.T) {
	s := newProtocolTest(t, nil)
	mux := http.NewServeMux()
	mux.Handle(authservice.RoutePattern, s.handler)
	ask := func(ctx context.Context, address, path string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
		r.RemoteAddr = address + ":1"
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for n := range 4 * limits.V1StepsPerSecond {
		group.Go(func() { ask(ctx, fmt.Sprintf("10.0.0.%d", n%2), "/auth/team/app-1?secret=akv2k8s-app") })
	}
	time.Sleep(50 * time.Millisecond) // both addresses have what they get
	modest, end := context.WithTimeout(t.Context(), 5*time.Second)
	defer end()
	assert.Equal(t, http.StatusOK, ask(modest, "10.0.1.1", "/auth/team/app-1?secret=akv2k8s-app"))
	cancel()
	group.Wait()
	s.mu.Lock()
	lines := strings.Count(s.log.String(), "rejected a pod")
	s.mu.Unlock()
	assert.LessOrEqual(t, lines, 3*limits.V1ReportsPerSecond, "and is no flood of lines")
}

func TestAQueryThatIsNoNameOfASecretIsRefused(t *testing.T) {
	s := newProtocolTest(t, nil)
	before := len(s.read)
	for _, query := range []string{"", "secret=", "secret=A_b", "secret=" + strings.Repeat("a", 254), "x=" + strings.Repeat("a", limits.V1QueryBytes) + "&secret=akv2k8s-app"} {
		w := httptest.NewRecorder()
		mux := http.NewServeMux()
		mux.Handle(authservice.RoutePattern, s.handler)
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/auth/team/app-1?"+query, nil))
		assert.Equal(t, http.StatusBadRequest, w.Code)
	}
	assert.Len(t, s.read, before)
}

func TestCertificatesOfAnySizeAreNotParsed(t *testing.T) {
	for _, key := range []string{"tls.crt", "ca.crt"} {
		s := newProtocolTest(t, func(s *protocolTest) {
			updateObject(s, &corev1.Secret{}, "team", "akv2k8s-app", func(own *corev1.Secret) {
				own.Data[key] = append(own.Data[key], strings.Repeat("\n", limits.V1CertificateBytes)...)
			})
		})
		s.assertRejected("does not look like")
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range [][2]string{{"team/app-1", "secret=akv2k8s-app"}, {"a/b", "secret=%zz"}, {"../..", ";;&&="}, {"%2f/%00", "secret"}, {"Ä/ö", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		budget := fuzzbudget.Budget{Time: time.Second, Bytes: 1 << 20, PerByte: 64}
		fuzzbudget.Check(t, budget, len(path)+len(query), func() {
			d := newRejectingHandler(t)
			w := d.sendRequest("10.0.0.1", "/auth/"+path, query)
			assert.LessOrEqual(t, w.Body.Len(), 4<<10)
			for _, name := range d.names {
				assert.LessOrEqual(t, len(name), 63+1+253)
			}
			for _, line := range d.lines {
				assert.LessOrEqual(t, len(line), 1<<10)
			}
		})
	})
}
