package telemetry_test

import (
	"bytes"
	"compress/gzip"
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

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/telemetry"
)

func TestLoggerWritesTheFormatThatWasAskedFor(t *testing.T) {
	var out bytes.Buffer
	logger, err := telemetry.NewLogger(&out, "info", "json")
	require.NoError(t, err)
	logger.Info("hello", "a", 1)
	logger.V(4).Info("hidden")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), "one line of JSON, the hidden one left out")
	assert.Equal(t, "hello", line["msg"])

	out.Reset()
	logger, err = telemetry.NewLogger(&out, "debug", "text")
	require.NoError(t, err)
	logger.V(4).Info("shown")
	assert.Contains(t, out.String(), "shown")
	assert.False(t, json.Valid(out.Bytes()))
}

func TestLinesOfSeveralGoroutinesStayWhole(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "info", "json")
	require.NoError(t, err)
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for i := range 50 { // many of one text would be sampled
				log.Info(fmt.Sprintf("line %d of %d", i, writer))
			}
		})
	}
	group.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	assert.Len(t, lines, 8*50)
	for _, line := range lines {
		assert.True(t, json.Valid([]byte(line)), line)
	}
}

func TestLoggerRefusesUnknownSettings(t *testing.T) {
	for _, c := range [][2]string{{"loud", "text"}, {"-1", "text"}, {"4x", "text"}, {"info", "xml"}} {
		_, err := telemetry.NewLogger(&bytes.Buffer{}, c[0], c[1])
		assert.Error(t, err, "%v", c)
	}
	for _, level := range []string{"", "0", "info", "debug", "trace", "7"} {
		_, err := telemetry.NewLogger(&bytes.Buffer{}, level, "")
		assert.NoError(t, err, level)
	}
}

func get(t *testing.T, s *telemetry.Health, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestServerAnswersHealthReadinessAndMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "a_total"})
	registry.MustRegister(counter)
	ready := errors.New("the cache is not filled yet")
	s := &telemetry.Health{Gatherer: registry, Ready: func() error { return ready }}
	assert.Equal(t, http.StatusOK, get(t, s, "/healthz").Code)
	assert.Equal(t, http.StatusServiceUnavailable, get(t, s, "/readyz").Code)
	assert.Contains(t, get(t, s, "/readyz").Body.String(), "cache")
	ready = nil
	assert.Equal(t, http.StatusOK, get(t, s, "/readyz").Code)
	assert.Contains(t, get(t, s, "/metrics").Body.String(), "a_total 0")
	assert.Equal(t, http.StatusNotFound, get(t, &telemetry.Health{}, "/metrics").Code, "metrics can be switched off")
}

func TestHoweverManyAskForMetricsTheyAreGatheredOnceASecond(t *testing.T) {
	gathered, now := 0, time.Now()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "canary_total"})
	registry.MustRegister(counter)
	counter.Add(7)
	var broken error
	h := (&telemetry.Health{Clock: func() time.Time { return now }, Gatherer: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		gathered++
		families, _ := registry.Gather()
		return families, broken
	})}).Handler()
	ask := func(encoding string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", encoding)
		h.ServeHTTP(w, r)
		return w
	}
	for range 1000 {
		require.Equal(t, http.StatusOK, ask("").Code)
	}
	assert.Equal(t, 1, gathered)
	now = now.Add(time.Second)
	unpacked, err := gzip.NewReader(ask("deflate, gzip").Body)
	require.NoError(t, err)
	content, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	assert.Contains(t, string(content), "canary_total 7")
	assert.Equal(t, 2, gathered)
	now, broken = now.Add(time.Second), errors.New("hunter2")
	assert.Equal(t, http.StatusInternalServerError, ask("").Code)
	assert.NotContains(t, ask("").Body.String(), "hunter2")
}

func TestProbesAreKnown(t *testing.T) {
	for path, probe := range map[string]bool{"/healthz": true, "/readyz": true, "/metrics": false, "/": false, "/healthz/x": false} {
		assert.Equal(t, probe, telemetry.IsProbe(httptest.NewRequest(http.MethodGet, path, nil)), path)
	}
}

func TestCallsOfVaultsAreMeasuredWithABoundOfNames(t *testing.T) {
	registry, vaults := prometheus.NewRegistry(), telemetry.NewVaultMetrics(logr.Discard())
	now := time.Now()
	vaults.UseClock(func() time.Time { return now })
	require.NoError(t, registry.Register(vaults))
	count := func() int {
		n, err := testutil.GatherAndCount(registry, "akv2k8s_vault_request_duration_seconds")
		require.NoError(t, err)
		return n
	}
	for i := range 2 * limits.MetricVaults { // names that nobody has
		vaults.RecordCall(fmt.Sprintf("made-up-%d", i), keyvault.KindSecret, 0, time.Second)
		vaults.RecordRead(keyvault.Ref{Vault: fmt.Sprintf("made-up-%d", i), Kind: keyvault.KindSecret}, "vault", fault.New(fault.Unavailable, "no"))
		vaults.RecordWait(fmt.Sprintf("made-up-%d", i), keyvault.PriorityRefresh, time.Second)
	}
	assert.Equal(t, 1, count(), "they share one name")
	vaults.RecordCall("kv", keyvault.KindSecret, 200, time.Second)
	vaults.RecordCall("kv", keyvault.KindSecret, 0, time.Second)
	assert.Equal(t, 3, count(), "a real one has its own, also when it does not answer later")
	for i := range limits.MetricVaults {
		now = now.Add(time.Second)
		vaults.RecordCall(fmt.Sprintf("kv-%d", i), keyvault.KindSecret, 404, time.Second)
	}
	assert.Equal(t, 1+2+limits.MetricVaults-1+1, count(), "the rest are counted together")
	vaults.RecordChangeDetection(keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecretList}, "", "list")
	now = now.Add(2 * time.Hour)
	vaults.RecordCall("kv-new", keyvault.KindSecret, 200, time.Second)
	assert.Equal(t, 1+limits.MetricVaults-1+1+1, count(), "kv, silent for longest, made room: both of its series are gone")
	vaults.RecordChangeDetection(keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecretList}, "list", "get")
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.Metric {
			if metric.Gauge != nil {
				assert.GreaterOrEqual(t, metric.Gauge.GetValue(), 0.0)
			}
		}
	}
}

func TestReadsAndWaitsAreMeasured(t *testing.T) {
	registry, vaults := prometheus.NewRegistry(), telemetry.NewVaultMetrics(logr.Discard())
	require.NoError(t, registry.Register(vaults))
	secret := keyvault.Ref{Vault: "kv", Kind: keyvault.KindSecret, Name: "canary"}
	vaults.RecordCall("kv", keyvault.KindSecret, 200, time.Second)
	vaults.RecordRead(secret, "memory", nil)
	vaults.RecordRead(secret, "vault", fault.New(fault.Denied, "canary"))
	vaults.RecordWait("kv", keyvault.PriorityPodStart, time.Second)
	list := keyvault.Ref{Vault: "kv", Kind: keyvault.KindKeyList}
	vaults.RecordChangeDetection(list, "", "get")
	vaults.RecordChangeDetection(list, "get", "list")
	var text bytes.Buffer
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&text, family)
		require.NoError(t, err)
	}
	for _, line := range []string{`akv2k8s_vault_reads_total{kind="secret",outcome="ok",source="memory",vault="kv"} 1`,
		`akv2k8s_vault_reads_total{kind="secret",outcome="AccessDenied",source="vault",vault="kv"} 1`,
		`akv2k8s_vault_change_detection{kind="key",method="list",vault="kv"} 1`, `akv2k8s_vault_change_detection{kind="key",method="get",vault="kv"} 0`,
		`akv2k8s_vault_wait_duration_seconds_count{priority="pod-start",vault="kv"} 1`} {
		assert.Contains(t, text.String(), line)
	}
	assert.NotContains(t, text.String(), "canary")
}
