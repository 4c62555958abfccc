package webhook_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/testkit/fuzzbudget"
	"github.com/akv2k8s/akv2k8s/src/webhook"
)

// newTestLimiter returns a Limiter with the memory limits of the installation.
func newTestLimiter(t testing.TB, known func(netip.Addr) bool) *iplimit.Limiter {
	t.Helper()
	metrics, err := iplimit.NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	g, err := iplimit.New(iplimit.Config{Port: "webhook", IsAPIServer: known, Metrics: metrics, Clock: time.Now, Limits: iplimit.Limits{Connections: 1, Requests: 1, RequestsPerSecond: 1,
		RequestsBurst: 1, TotalConnections: 1, Memory: limits.WebhookMemory, ReservedMemory: limits.WebhookReservedMemory}})
	require.NoError(t, err)
	return g
}

// reviewOf is the JSON of a review of an object in the test namespace.
func reviewOf(object string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"uid-1","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"team","operation":"CREATE","object":` +
		object + `}}`
}

func podText(containers string) string {
	return `{"metadata":{"name":"app"},"spec":{"containers":[` + containers + `]}}`
}

// env is the JSON of a container whose environment has a reference, followed by more entries.
func env(more string) string {
	return `{"name":"app","command":["app"],"env":[{"name":"A","value":"a@azurekeyvault"}` + more + `]}`
}

func many(count int, format string) string {
	var out strings.Builder
	for i := range count {
		fmt.Fprintf(&out, format, i)
	}
	return out.String()
}

// post sends a body to the handler.
func post(h http.Handler, body io.Reader, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/pods?timeout=10s", body)
	r.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answered decodes the answer to a review.
func answered(t testing.TB, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var out admissionv1.AdmissionReview
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out))
	require.Equal(t, "AdmissionReview", out.Kind)
	require.NotNil(t, out.Response)
	require.EqualValues(t, "uid-1", out.Response.UID)
	return out.Response
}

// allocated is the number of bytes that a call allocates in total, which is more than it holds at any time.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc) //nolint:gosec // far below the largest number
}

func TestAReviewOverHTTPIsAnswered(t *testing.T) {
	h := newBench(t).webhook.Handler(newTestLimiter(t, nil))
	response := answered(t, post(h, strings.NewReader(reviewOf(podText(env(""))))))
	assert.True(t, response.Allowed)
	assert.Contains(t, string(response.Patch), "/spec/containers/0/command")
	assert.NotContains(t, string(response.Patch), "/metadata")
}

// TestNoReviewCostsMoreThanItsBudget has the requests of an attacker who wants to exhaust memory. The first once took
// 3.8 GB.
func TestNoReviewCostsMoreThanItsBudget(t *testing.T) {
	const refusedBudget, acceptedBudget = 16 << 20, 56 << 20 // the race detector makes code allocate a little more
	empty := strings.TrimSuffix(strings.Repeat("{},", 2_400_000), ",")
	for name, c := range map[string]struct {
		body string
		// says is a part of the rejection; empty if the review is within all limits.
		says string
	}{
		"2.4 million empty containers":  {reviewOf(podText(empty)), "larger than 3 MiB"},
		"as many as fit":                {reviewOf(podText(empty[:2_999_999])), "500 containers"},
		"as many, in capitals":          {reviewOf(`{"spec":{"CONTAINERS":[` + empty[:2_999_999] + `]}}`), "500 containers"},
		"as many, written with escapes": {reviewOf(`{"spec":{"\u0063ontainer\u0073":[` + empty[:2_999_999] + `]}}`), "500 containers"},
		"as many, with a folded letter": {reviewOf(`{"spec":{"containerſ":[` + empty[:2_999_999] + `]}}`), "500 containers"},
		"501, of three kinds":           {reviewOf(`{"spec":{"containers":[` + empty[:200*3-1] + `],"initContainers":[` + empty[:200*3-1] + `],"ephemeralContainers":[` + empty[:101*3-1] + `]}}`), "500 containers"},
		"501, under one key twice":      {reviewOf(`{"spec":{"containers":[` + empty[:250*3-1] + `],"containers":[` + empty[:251*3-1] + `]}}`), "500 containers"},
		"501 in the old object":         {reviewOf(`{},"oldObject":` + podText(empty[:501*3-1])), "the oldObject of the request has more than 500 containers"},
		"501 in another kind":           {strings.Replace(reviewOf(podText(empty[:501*3-1])), `"kind":"Pod"`, `"kind":"Deployment"`, 1), "500 containers"},
		"a second object":               {reviewOf(`{},"object":{}`), "second object"},
		"40,000 variables that use one": {reviewOf(podText(env(many(40_000, `,{"name":"V%d","value":"$(A)"}`)))), "20000 environment variables"},
		"25,000 sources":                {reviewOf(podText(`{"name":"app","envFrom":[` + strings.TrimSuffix(many(25_000, `{"configMapRef":{"name":"m%d"}},`), ",") + `]}`)), "20000 environment variables"},
		"volumes":                       {reviewOf(`{"spec":{"volumes":[` + empty[:900_000-1] + `]}}`), "5000 objects in lists"},
		"status":                        {reviewOf(`{"status":{"containerStatuses":[` + empty[:900_000-1] + `]}}`), "5000 objects in lists"},
		"lists of lists":                {reviewOf(`{"x":[` + strings.TrimSuffix(strings.Repeat("[],", 900_000), ",") + `]}`), "5000 objects in lists"},
		"labels":                        {reviewOf(`{"metadata":{"labels":{"a":""` + many(150_000, `,"%d":""`) + `}}}`), "200000 keys and values"},
		"numbers":                       {reviewOf(`{"x":[1` + strings.Repeat(",1", 1_000_000) + `]}`), "200000 keys and values"},
		"deep objects":                  {reviewOf(strings.Repeat(`{"a":`, 5_000) + "1" + strings.Repeat("}", 5_000)), "64 levels deep"},
		// encoding/json stops at 10,000 levels
		"deep lists":                               {reviewOf(strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)), "not a JSON object"},
		"a flood beside the request":               {`{"x":[` + empty[:900_000-1] + `],` + reviewOf("{}")[1:], "5000 objects in lists"},
		"YAML with aliases":                        {"{a: &a [1,1], b: &b [*a,*a], request: {uid: uid-1}}", "not a JSON object"},
		"cut off":                                  {reviewOf(podText(env("")))[:200], "not a JSON object"},
		"the most expensive: variables":            {reviewOf(podText(env(many(19_900, `,{"name":"V%d","value":"$(B)"}`)))), ""},
		"the most expensive: composed variables":   {reviewOf(podText(env(many(19_900, `,{"name":"V%d","value":"$(A)"}`)))), "ENV_INJECTOR_EXPAND"},
		"the most expensive: containers":           {reviewOf(podText(strings.TrimSuffix(many(500, `{"name":"c%d","command":["app"],"env":[{"name":"A","value":"a@azurekeyvault"}]},`), ","))), ""},
		"the most expensive: texts":                {reviewOf(podText(env(many(10, `,{"name":"B%d","value":"`+strings.Repeat("$(A)", 25_000)+`"}`)))), ""},
		"a text that has no end":                   {reviewOf(podText(env(`,{"name":"B","value":"` + strings.Repeat("$(", 1_450_000) + `"}`))), ""},
		"the most expensive: managed fields":       {reviewOf(`{"metadata":{"name":"app","managedFields":[{"fieldsV1":{"a":{}` + many(90_000, `,"f:%d":{}`) + `}}]},"spec":{"containers":[` + env("") + `]}}`), ""},
		"the most expensive: what nobody knows":    {reviewOf(`{"spec":{"containers":[` + env("") + `],"x":{"a":{}` + many(90_000, `,"f:%d":{}`) + `}}}`), ""},
		"the most expensive: of an injected image": {reviewOf(podText(env(`,{"name":"ENV_INJECTOR_EXPAND","value":"{\"env\":[\"` + strings.Repeat(`\",\"`, 300_000) + `\"]}"}`))), "reserved"},
		"names of 3 MB":                            {reviewOf(podText(`{"name":"` + strings.Repeat("x", 2_900_000) + `","command":["a"],"env":[{"name":"A","value":"a@azurekeyvault"}]}`)), "not a valid name"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			h, body := b.webhook.Handler(newTestLimiter(t, nil)), strings.NewReader(c.body)
			var w *httptest.ResponseRecorder
			took := allocated(func() { w = post(h, body) })
			budget := int64(acceptedBudget)
			// rejected before it is decoded
			if c.says != "" && !strings.Contains("reserved, not a valid name, ENV_INJECTOR_EXPAND", c.says) {
				budget = refusedBudget
			}
			t.Logf("%d bytes of body, %d KiB allocated, %d KiB of answer", len(c.body), took>>10, w.Body.Len()>>10)
			assert.LessOrEqual(t, took, budget)
			assert.LessOrEqual(t, w.Body.Len(), 12<<20)
			assert.LessOrEqual(t, b.log.Len(), 8<<10, "lines are bounded too")
			if w.Code != http.StatusOK {
				assert.Contains(t, w.Body.String(), c.says)
				return
			}
			response := answered(t, w)
			if c.says == "" {
				assert.True(t, response.Allowed, "%v", response.Result)
				return
			}
			assert.False(t, response.Allowed)
			assert.Contains(t, response.Result.Message, c.says)
			assert.LessOrEqual(t, len(response.Result.Message), 5<<10)
		})
	}
}

func TestWhatTheHandlerDoesNotRead(t *testing.T) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := io.WriteString(writer, reviewOf("{}"))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	for name, c := range map[string]struct {
		body   io.Reader
		change func(*http.Request)
		code   int
	}{
		"compressed":          {&packed, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, http.StatusUnsupportedMediaType},
		"another type":        {strings.NewReader(reviewOf("{}")), func(r *http.Request) { r.Header.Set("Content-Type", "application/yaml") }, http.StatusUnsupportedMediaType},
		"by GET":              {strings.NewReader(reviewOf("{}")), func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		"empty":               {strings.NewReader(""), func(*http.Request) {}, http.StatusRequestEntityTooLarge},
		"no review":           {strings.NewReader("{}"), func(*http.Request) {}, http.StatusBadRequest},
		"broken off":          {iotest.ErrReader(errors.New("gone")), func(*http.Request) {}, http.StatusBadRequest},
		"endless, no length":  {endless{}, func(r *http.Request) { r.ContentLength = -1 }, http.StatusRequestEntityTooLarge},
		"endless, small said": {endless{}, func(r *http.Request) { r.ContentLength = 10 }, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			h := newBench(t).webhook.Handler(newTestLimiter(t, nil))
			var w *httptest.ResponseRecorder
			took := allocated(func() { w = post(h, c.body, c.change) })
			assert.Equal(t, c.code, w.Code, w.Body.String())
			assert.Less(t, took, int64(16<<20))
		})
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestReviewsOfStrangersLeaveMemoryForTheAPIServer sends 200 bodies that never end.
func TestReviewsOfStrangersLeaveMemoryForTheAPIServer(t *testing.T) {
	api := netip.MustParseAddr("10.0.0.9")
	b := newBench(t)
	h := b.webhook.Handler(newTestLimiter(t, func(a netip.Addr) bool { return a == api }))
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address + ":1" }
	}
	codes := make(chan int, 200)
	var writers []*io.PipeWriter
	for i := range 200 {
		reader, writer := io.Pipe()
		writers = append(writers, writer)
		go func() { codes <- post(h, reader, from(fmt.Sprintf("10.1.0.%d", i))).Code }()
		go func() { _, _ = writer.Write(bytes.Repeat([]byte(" "), 2<<20)) }()
	}
	refused := 0
	for refused < 150 { // the memory suffices for a few of them
		select {
		case code := <-codes:
			require.Equal(t, http.StatusTooManyRequests, code)
			refused++
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d of 200 bodies were refused", refused)
		}
	}
	large := reviewOf(podText(env(`,{"name":"B","value":"` + strings.Repeat("x", 2_900_000) + `"}`)))
	assert.True(t, answered(t, post(h, strings.NewReader(large), from(api.String()))).Allowed, "the largest review of the API server is answered")
	for _, writer := range writers {
		_ = writer.CloseWithError(errors.New("gone"))
	}
}

func TestLinesAboutReviewsAreBounded(t *testing.T) {
	b := newBench(t)
	h := b.webhook.Handler(newTestLimiter(t, nil))
	bad := reviewOf(podText(`{"name":"app","env":[{"name":"` + strings.Repeat("N", 100_000) + `","value":"x y@azurekeyvault"}]}`))
	started := time.Now()
	for range 300 {
		assert.False(t, answered(t, post(h, strings.NewReader(bad))).Allowed)
	}
	lines := strings.Count(b.log.String(), "\n")
	most := limits.AdmissionLogBurst + int(time.Since(started).Seconds()*limits.AdmissionLogRate) + 1
	assert.LessOrEqual(t, lines, most, "a flood of reviews does not flood the log")
	assert.Less(t, b.log.Len(), lines*1024)
}

func TestReinvocationIsNotLoggedNorCounted(t *testing.T) {
	b := newBench(t)
	pod := b.patched(b.admit(container("a@azurekeyvault")))
	b.pod = pod
	again := b.admit(pod.Spec.Containers...)
	assert.True(t, again.Allowed)
	assert.Empty(t, again.Patches)
	assert.Equal(t, 1, strings.Count(b.log.String(), "injected"))
	assert.Equal(t, [4]float64{2, 3, 1, 0}, b.counts())
}

func TestNothingIsReadInANamespaceWithoutTheLabel(t *testing.T) {
	b := newBench(t)
	h := b.webhook.Handler(newTestLimiter(t, nil))
	from := `{"name":"app","command":["a"],"envFrom":[{"secretRef":{"name":"credentials"}}],"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}`
	for _, name := range []string{"absent", "unlabelled", "refusing"} {
		before := b.reads.Load()
		for range 20 {
			response := answered(t, post(h, strings.NewReader(strings.Replace(reviewOf(podText(from)), `"team"`, `"`+name+`"`, 1))))
			assert.False(t, response.Allowed, name)
			assert.Contains(t, response.Result.Message, `injection is not enabled in namespace "`+name+`"; label it inject=yes`)
		}
		assert.LessOrEqual(t, b.reads.Load()-before, int64(20), "the namespace, and nothing in it")
	}
	assert.Empty(t, b.asked)
	assert.True(t, answered(t, post(h, strings.NewReader(reviewOf(podText(from))))).Allowed)
}

func TestSourcesOfOnePodAreBounded(t *testing.T) {
	b := newBench(t)
	h := b.webhook.Handler(newTestLimiter(t, nil))
	from := func(count int) string {
		return reviewOf(podText(`{"name":"app","command":["a"],"envFrom":[` + strings.TrimSuffix(many(count, `{"configMapRef":{"name":"m%d"}},`), ",") + `]}`))
	}
	response := answered(t, post(h, strings.NewReader(from(301))))
	assert.False(t, response.Allowed)
	assert.Contains(t, response.Result.Message, "301 ConfigMaps and Secrets, and the limit is 300")
	assert.LessOrEqual(t, b.reads.Load(), int64(1), "none of them is read")
	for range 3 {
		assert.True(t, answered(t, post(h, strings.NewReader(from(300)))).Allowed)
	}
	assert.LessOrEqual(t, b.reads.Load(), int64(302), "that there is none is remembered for a second")
	response = answered(t, post(h, strings.NewReader(reviewOf(podText(`{"name":"app","envFrom":[{"configMapRef":{"name":"../../secrets/x"}}]}`)))))
	assert.False(t, response.Allowed)
	assert.Contains(t, response.Result.Message, `"../../secrets/x" is not a valid name of a ConfigMap`)
}

func TestReadsForReviewsOfUnknownSendersAreBounded(t *testing.T) {
	for trusted, most := range map[bool]int64{false: limits.UntrustedSourceReadsPerSecond/2 + 1, true: 2000} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			h := b.webhook.Handler(newTestLimiter(t, func(netip.Addr) bool { return trusted }))
			review := func(n int) *admissionv1.AdmissionResponse {
				return answered(t, post(h, strings.NewReader(reviewOf(podText(`{"name":"app","command":["a"],"envFrom":[`+
					strings.TrimSuffix(many(300, fmt.Sprintf(`{"configMapRef":{"name":"m%d-%%d"}},`, n)), ",")+`]}`)))))
			}
			rejected := ""
			for n := range 5 {
				if response := review(n); !response.Allowed {
					rejected = response.Result.Message
				}
			}
			assert.LessOrEqual(t, b.reads.Load(), most)
			if trusted {
				assert.Empty(t, rejected)
				return
			}
			assert.Contains(t, rejected, `reviews for namespace "team" read too many ConfigMaps and Secrets`)
			assert.Contains(t, rejected, "try again")
			time.Sleep(time.Second) // the window of the rate; synctest's clock makes it instant
			assert.True(t, review(6).Allowed)
		})
	}
}

func TestLookUpsForReviewsOfUnknownSendersAreMarked(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		b := newBench(t)
		h := b.webhook.Handler(newTestLimiter(t, func(netip.Addr) bool { return trusted }))
		post(h, strings.NewReader(reviewOf(podText(`{"name":"app","image":"app:1","env":[{"name":"A","value":"a@azurekeyvault"}]}`))))
		require.Len(t, b.asked, 1)
		assert.Equal(t, !trusted, b.asked[0].Untrusted)
	}
}

func TestTheTimeThatTheAPIServerWaitsIsKept(t *testing.T) {
	for query, want := range map[string]time.Duration{"?timeout=25s": 23 * time.Second, "?timeout=10": 8 * time.Second, "?timeout=1s": 500 * time.Millisecond} {
		ctx, cancel := webhook.Deadline(t.Context(), httptest.NewRequest(http.MethodPost, "/pods"+query, nil))
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		assert.InDelta(t, want.Seconds(), time.Until(deadline).Seconds(), 0.3, query)
		cancel()
	}
	for _, query := range []string{"?timeout=x", "?timeout=0", "?timeout=0s", "?timeout=-5s", "?timeout=-5", ""} {
		ctx, cancel := webhook.Deadline(t.Context(), httptest.NewRequest(http.MethodPost, "/pods"+query, nil))
		_, ok := ctx.Deadline()
		assert.False(t, ok, query)
		assert.NoError(t, ctx.Err(), query)
		cancel()
	}
}

// FuzzHandler sends bodies to the handler, each with a budget for time, memory and the size of the answer.
func FuzzHandler(f *testing.F) {
	for _, seed := range []string{reviewOf(podText(env(""))), reviewOf(podText(env(`,{"name":"B","value":"$(A)$$(A)"}`))), reviewOf("{}"), reviewOf(`[]`), reviewOf(`null,"oldObject":null`), "{}", "[",
		reviewOf(`{"metadata":{"annotations":{"akv2k8s.io/commands":"{\"app\":[\"a\"]}"}},"spec":{"containers":[{"name":"app","env":[{"name":"A","value":"a@azurekeyvault"}]}]}}`),
		reviewOf(`{"metadata":{"annotations":{"akv2k8s.io/commands":"{\"app\":[],\"x\":null}"}},"spec":{"containers":[{"name":"app"}]}}`),
		strings.Replace(reviewOf(podText(env(""))+`,"oldObject":`+podText(env(""))), `"operation"`, `"subResource":"ephemeralcontainers","operation"`, 1),
		reviewOf(podText(`{"name":"app","envFrom":[{"configMapRef":{"name":"m"}},{"secretRef":{"name":"s"}}],"command":["$(A)"]}`)),
		reviewOf(podText(`{"name":"app","command":["/azure-keyvault/azure-keyvault-env"],"env":[{"name":"ENV_INJECTOR_EXPAND","value":"{\"args\":[99],\"env\":[\"A\"]}"},{"name":"A","value":"a@azurekeyvault"}]}`))} {
		f.Add([]byte(seed))
	}
	b := newBench(&testing.T{})
	h := b.webhook.Handler(newTestLimiter(f, nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		var w *httptest.ResponseRecorder
		fuzzbudget.Check(t, fuzzbudget.Budget{Time: 20 * time.Second, Bytes: 4 << 20, PerByte: 200}, len(body), func() { w = post(h, bytes.NewReader(body)) })
		if w.Body.Len() > 256<<10+20*len(body) || w.Code == http.StatusInternalServerError {
			t.Fatalf("%d bytes were answered %d, %d bytes", len(body), w.Code, w.Body.Len())
		}
	})
}
