package broker_test

import (
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// stalledClient is a client that reads nothing of its response until it is released. It records the deadlines that the broker sets.
type stalledClient struct {
	*httptest.ResponseRecorder
	reading chan struct{}
	started chan<- bool

	once      sync.Once
	mu        sync.Mutex
	deadlines []time.Time
	writes    []int
	fail      error
}

func (s *stalledClient) Write(content []byte) (int, error) {
	s.once.Do(func() { s.started <- true })
	<-s.reading
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, len(content))
	if s.fail != nil {
		return 0, s.fail
	}
	return s.ResponseRecorder.Write(content)
}

func (s *stalledClient) SetReadDeadline(time.Time) error { return nil }

func (s *stalledClient) SetWriteDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadlines = append(s.deadlines, at)
	return nil
}

func TestAPlaceIsGivenBackAfterTheAnswerIsTaken(t *testing.T) {
	c := newFakeCluster(t)
	reading, started := make(chan struct{}), make(chan bool, 10)
	var group sync.WaitGroup
	for range limits.AuthSlotsPerPod {
		group.Go(func() {
			c.sendAsPod("team", "p", strings.NewReader(`{"references":{"A":"one@azurekeyvault"}}`),
				&stalledClient{ResponseRecorder: httptest.NewRecorder(), reading: reading, started: started})
		})
	}
	for range limits.AuthSlotsPerPod {
		<-started
	}
	code, refusal := c.sendReferences("team", "p", usualReferences())
	assert.Equal(t, http.StatusTooManyRequests, code)
	assert.Contains(t, refusal.Message, "from pod")
	close(reading)
	group.Wait()
	code, _ = c.sendReferences("team", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code)
}

func TestAnswersThatNobodyTakesHoldABoundedNumberOfBytes(t *testing.T) {
	c := newFakeCluster(t)
	c.value = strings.Repeat("x", 4<<20)
	reading, started := make(chan struct{}), make(chan bool, 10)
	var group sync.WaitGroup
	for n := range 6 { // 24 of 48 MiB
		group.Go(func() {
			c.sendAsPod("greedy", fmt.Sprint(n), strings.NewReader(`{"references":{"A":"one@azurekeyvault"}}`),
				&stalledClient{ResponseRecorder: httptest.NewRecorder(), reading: reading, started: started})
		})
	}
	for range 6 {
		<-started
	}
	code, refusal := c.sendReferences("greedy", "next", usualReferences())
	assert.Equal(t, http.StatusTooManyRequests, code)
	assert.Contains(t, refusal.Message, `values for pods in namespace "greedy" hold too much memory`)
	assert.Equal(t, 1, refusal.RetryAfterSeconds)
	code, refusal = c.sendReferences("modest", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code, refusal.Message)
	close(reading)
	group.Wait()
	code, _ = c.sendReferences("greedy", "next", usualReferences())
	assert.Equal(t, http.StatusOK, code)
}

func TestEachPartOfAnAnswerHasATimeAndTheWholeToo(t *testing.T) {
	c := newFakeCluster(t)
	c.value = strings.Repeat("<&\xff", 1<<20)
	reading := make(chan struct{})
	close(reading)
	w := &stalledClient{ResponseRecorder: httptest.NewRecorder(), reading: reading, started: make(chan bool, 10)}
	begin := time.Now()
	c.sendAsPod("team", "p", strings.NewReader(`{"references":{"A":"one@azurekeyvault"}}`), w)
	require.Greater(t, len(w.writes), 100)
	assert.GreaterOrEqual(t, len(w.deadlines), len(w.writes), "one for each part")
	for _, n := range w.writes {
		assert.LessOrEqual(t, n, 33<<10)
	}
	for _, at := range w.deadlines {
		assert.WithinRange(t, at, begin, time.Now().Add(limits.AuthAnswerChunkTime))
		assert.False(t, at.After(begin.Add(limits.AuthAnswerTime+time.Minute)))
	}
	var answer wire.ResolveResponse
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Equal(t, c.value, string(answer.Values["A"]), "and it arrives as it is")

	gone := &stalledClient{ResponseRecorder: httptest.NewRecorder(), reading: reading, started: make(chan bool, 10), fail: errors.New("timeout")}
	c.sendAsPod("team", "p", strings.NewReader(`{"references":{"A":"one@azurekeyvault"}}`), gone)
	assert.Len(t, gone.writes, 1, "nothing more is made for a client that is gone")
}

func TestOneValueUnderManyNamesIsHeldOnce(t *testing.T) {
	c, asked := newFakeCluster(t), map[string]string{}
	c.env = nil
	for n := range 8000 {
		name := fmt.Sprintf("V%04d", n)
		c.env, asked[name] = append(c.env, corev1.EnvVar{Name: name, Value: "one@azurekeyvault"}), "one@azurekeyvault"
	}
	c.value = strings.Repeat("x", 700)
	body, err := json.Marshal(wire.ResolveRequest{References: asked})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	c.sendAsPod("team", "p", strings.NewReader(string(body)), w)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	var answer wire.ResolveResponse
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	assert.Len(t, answer.Values, 8000)
	assert.Equal(t, c.value, string(answer.Values["V7999"]))
}

func TestThereAreNeverMoreVariablesThanThePodHas(t *testing.T) {
	c, asked := newFakeCluster(t), map[string]string{}
	for n := range 31_000 {
		asked[fmt.Sprintf("V%d", n)] = "one@azurekeyvault"
	}
	code, refusal := c.sendReferences("team", "p", asked)
	assert.Equal(t, http.StatusForbidden, code)
	assert.Contains(t, refusal.Message, "more variables than the pod's spec, which has 1")
	c.env = append(c.env, corev1.EnvVar{Name: wire.EnvAllowUnrecorded, Value: "true"})
	code, refusal = c.sendReferences("team", "p", asked)
	assert.Equal(t, http.StatusForbidden, code, "and where a source was missing, never more than a pod can have")
	assert.Contains(t, refusal.Message, "20,000")
	c.env = []corev1.EnvVar{{Name: wire.EnvReferences, Value: `{"A":"one@azurekeyvault","B":"one@azurekeyvault"}`}, {Name: "C", Value: "one@azurekeyvault"}}
	for count, want := range map[int]int{3: http.StatusOK, 4: http.StatusForbidden} {
		asked := map[string]string{}
		for n := range count {
			asked[fmt.Sprint(n)] = "one@azurekeyvault"
		}
		code, _ = c.sendReferences("team", "p", asked)
		assert.Equal(t, want, code, "recorded ones count too")
	}
	assert.Zero(t, c.calls)
}

// manyReferences returns variables that name n resources.
func (c *fakeCluster) manyReferences(prefix string, n int) map[string]string {
	asked := map[string]string{}
	c.env = nil
	for i := range n {
		name := fmt.Sprintf("V%d", i)
		asked[name] = fmt.Sprintf("%s%d@azurekeyvault", prefix, i)
		c.env = append(c.env, corev1.EnvVar{Name: name, Value: asked[name]})
	}
	return asked
}

func TestOneRequestCannotBecomeThousandsOfReads(t *testing.T) {
	c := newFakeCluster(t)
	code, refusal := c.sendReferences("team", "p", c.manyReferences("r", limits.ResourcesPerRequest+1))
	assert.Equal(t, http.StatusBadRequest, code)
	assert.Contains(t, refusal.Message, "more than 500 AzureKeyVaultSecrets")
	assert.Contains(t, refusal.Message, "spec.data")
	assert.Zero(t, c.reads, "it is refused before anything is read")
	assert.Len(t, c.lines, 1)
	code, refusal = c.sendReferences("team", "p", c.manyReferences("r", limits.ResourcesPerRequest))
	assert.Equal(t, http.StatusOK, code, refusal.Message)
	assert.Equal(t, limits.ResourcesPerRequest, c.reads)
}

func TestWhatDoesNotExistIsNotReadAgainForASecond(t *testing.T) {
	c := newFakeCluster(t)
	c.now = time.Unix(1_000_000, 0)
	asked := c.manyReferences("absent", 100)
	for range 20 {
		code, refusal := c.sendReferences("team", "p", asked)
		assert.Equal(t, http.StatusNotFound, code)
		assert.True(t, refusal.CanAppearLater)
	}
	assert.Equal(t, 100, c.reads)
	c.now = c.now.Add(limits.AuthAbsentResourceTime)
	_, _ = c.sendReferences("team", "p", asked)
	assert.Equal(t, 200, c.reads, "then it may be there")
}

func TestReadsOfWhatIsNotInTheCacheAreSharedByNamespaces(t *testing.T) {
	c := newFakeCluster(t)
	c.now = time.Unix(1_000_000, 0)
	for n := range 5 {
		_, _ = c.sendReferences("greedy", "p", c.manyReferences(fmt.Sprintf("r%d-", n), 200))
	}
	assert.Equal(t, limits.AuthResourceReadsPerSecond/2, c.reads)
	code, refusal := c.sendReferences("greedy", "p", c.manyReferences("other", 1))
	assert.Equal(t, http.StatusTooManyRequests, code)
	assert.Contains(t, refusal.Message, `namespace "greedy"`)
	code, _ = c.sendReferences("modest", "p", c.manyReferences("r", 200))
	assert.Equal(t, http.StatusOK, code)
}

func TestARequestIsOneLineOfTheLog(t *testing.T) {
	c := newFakeCluster(t)
	asked := c.manyReferences("r", 200)
	code, refusal := c.sendReferences("team", "p", asked)
	require.Equal(t, http.StatusOK, code, refusal.Message)
	require.Empty(t, c.lines, "an ordinary answer is none")
	c.env = []corev1.EnvVar{{Name: wire.EnvAllowUnrecorded, Value: "true"}}
	c.stale = true
	code, refusal = c.sendReferences("team", "p", asked)
	require.Equal(t, http.StatusOK, code, refusal.Message)
	require.Len(t, c.lines, 1)
	for _, says := range []string{`"unrecordedVariables"=200`, `"firstUnrecorded"="V0"`, `"staleObjects"=200`, `"error"="the vault is away"`, `"pod"="p"`} {
		assert.Contains(t, c.lines[0], says)
	}
}

func TestAFloodOfRefusalsIsNoFloodOfLines(t *testing.T) {
	c := newFakeCluster(t)
	c.now = time.Unix(1_000_000, 0)
	for range 300 {
		_, _ = c.sendReferences("greedy", "p", map[string]string{"A": "two@azurekeyvault"})
	}
	assert.Len(t, c.lines, limits.AuthLogLinesPerSecond/2)
	_, _ = c.sendReferences("modest", "p", map[string]string{"A": "two@azurekeyvault"})
	require.Len(t, c.lines, limits.AuthLogLinesPerSecond/2+1, "others are heard")
	assert.Contains(t, c.lines[len(c.lines)-1], `"droppedLines"=250`)
	for range 1000 {
		c.broker.RejectRequest(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, wire.ResolvePath, nil))
	}
	assert.Len(t, c.lines, limits.AuthLogLinesPerSecond/2+1, "an address that the gate refuses is logged by the gate")
}

func TestEventsAreBounded(t *testing.T) {
	c := newFakeCluster(t)
	c.now = time.Unix(1_000_000, 0)
	c.stale = true
	for range 3 {
		_, _ = c.sendReferences("team", "p", usualReferences())
	}
	assert.Len(t, c.events.Events, 1, "one for a pod")
	for n := range 100 {
		_, _ = c.sendReferences("greedy", fmt.Sprint(n), usualReferences())
	}
	assert.Len(t, c.events.Events, 5, "and a share for a namespace")
	c.now = c.now.Add(limits.AuthEventInterval)
	_, _ = c.sendReferences("team", "p", usualReferences())
	assert.Len(t, c.events.Events, 6)
}

func TestNamesOfAnyLengthStayOutOfMessagesAndLogs(t *testing.T) {
	long := strings.Repeat("N", limits.VariableNameBytes)
	for name, asked := range map[string]map[string]string{
		"a reference of another": {long: "two@azurekeyvault"}, "one that is none": {long: "plain"}, "one that is missing": {long: "absent@azurekeyvault"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCluster(t)
			c.env = append(c.env, corev1.EnvVar{Name: "P", Value: "plain"}, corev1.EnvVar{Name: "B", Value: "absent@azurekeyvault"})
			code, refusal := c.sendReferences("team", "p", asked)
			assert.NotEqual(t, http.StatusOK, code)
			assert.Contains(t, refusal.Message, "variable "+long[:limits.NameBytesInMessages]+"…")
			assert.NotContains(t, refusal.Message, long[:limits.NameBytesInMessages+1])
			require.Len(t, c.lines, 1)
			assert.NotContains(t, c.lines[0], long[:limits.NameBytesInMessages+1])
		})
	}
	c := newFakeCluster(t)
	code, refusal := c.sendReferences("team", "p", map[string]string{long + "N": "one@azurekeyvault"})
	assert.Equal(t, http.StatusBadRequest, code)
	assert.Contains(t, refusal.Message, "a variable name of 1,025 bytes")
	c.env = append(c.env, corev1.EnvVar{Name: wire.EnvAllowUnrecorded, Value: "true"})
	code, _ = c.sendReferences("team", "p", map[string]string{long: "one@azurekeyvault"})
	assert.Equal(t, http.StatusOK, code)
}

func TestALongMessageIsCut(t *testing.T) {
	b := newBrokerTest(t)
	b.vault.next = fault.New(fault.Denied, "%s", strings.Repeat("because ", 100_000))
	w := b.sendReferences(map[string]string{"A": "two@azurekeyvault"})
	b.assertError(w, fault.Denied, "because")
	assert.Less(t, w.Body.Len(), 2*limits.AuthMessageBytes)
	assert.Less(t, b.log.Len(), 2*limits.AuthMessageBytes)
}

func TestTheTextOfABugStaysHere(t *testing.T) {
	b := newBrokerTest(t)
	b.vault.next = errors.New("the innermost detail")
	w := b.sendReferences(map[string]string{"A": "two@azurekeyvault"})
	b.assertError(w, fault.Bug, "see the log of the env-injector")
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.NotContains(t, w.Body.String(), "innermost")
	assert.Contains(t, b.log.String(), "innermost")
}

func TestRequestsAndVariablesOfPodsHoldABoundedNumberOfBytes(t *testing.T) {
	c := newFakeCluster(t)
	for n := range 1000 { // a spec of a megabyte
		c.env = append(c.env, corev1.EnvVar{Name: "P", Value: fmt.Sprintf("%d %s", n, strings.Repeat("x", 1000))})
	}
	var group sync.WaitGroup
	refused := make(chan wire.ErrorResponse, 20)
	for n := range 20 {
		group.Go(func() {
			if code, refusal := c.sendReferences("slow", fmt.Sprint(n), usualReferences()); code == http.StatusTooManyRequests {
				refused <- refusal
			}
		})
	}
	share := limits.AuthRequestsBytes / 2 >> 20
	for range 20 - share {
		assert.Contains(t, (<-refused).Message, `requests of pods in namespace "slow" hold too much memory`)
	}
	c.waitUntil("the others wait for the vault", func() bool { return c.calls <= share && c.calls >= share-2 })
	code, refusal := c.sendReferences("modest", "p", usualReferences())
	assert.Equal(t, http.StatusOK, code, refusal.Message)
	close(c.hold)
	group.Wait()
}

func TestALongBodyIsRefusedByItsLengthOrWhenItComes(t *testing.T) {
	c := newFakeCluster(t)
	for name, length := range map[string]int64{"it says so": limits.AuthRequestBytes + 1, "it does not say": -1} {
		r := httptest.NewRequest(http.MethodPost, wire.ResolvePath, strings.NewReader(strings.Repeat(" ", limits.AuthRequestBytes+1)))
		if length > 0 {
			r.Body = io.NopCloser(unread{t})
		}
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer team.p.x")
		w := httptest.NewRecorder()
		c.broker.ServeHTTP(w, r)
		assert.Equal(t, http.StatusBadRequest, w.Code, name)
		assert.Contains(t, w.Body.String(), "longer than 1 MiB", name)
	}
}

func TestAVariableThatComesFromElsewhereAllowsNothing(t *testing.T) {
	c := newFakeCluster(t)
	c.env = []corev1.EnvVar{{Name: "A", Value: "one@azurekeyvault", ValueFrom: &corev1.EnvVarSource{}}, {Name: "B"}}
	code, _ := c.sendReferences("team", "p", usualReferences())
	assert.Equal(t, http.StatusForbidden, code)
	c.env = []corev1.EnvVar{{Name: wire.EnvAllowUnrecorded, Value: "false"}, {Name: "B"}}
	code, _ = c.sendReferences("team", "p", usualReferences())
	assert.Equal(t, http.StatusForbidden, code)
}
