package telemetry

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Check returns an error if a part of the program is not ready.
type Check func() error

// Health serves /healthz, /readyz and, if Gatherer is set, /metrics.
type Health struct {
	// Ready is called by /readyz; nil means always ready.
	Ready Check
	// Gatherer collects the metrics; nil disables /metrics.
	Gatherer prometheus.Gatherer
	// Handlers are additional handlers by pattern of http.ServeMux.
	Handlers map[string]http.Handler
	// Clock is time.Now if it is nil.
	Clock func() time.Time
}

// IsProbe reports whether a request is a probe of the kubelet. Probes are cheap and exempt from limits, because the
// kubelet restarts a program that does not answer them.
func IsProbe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// Handler returns the handler of all paths.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", checkHandler(nil))
	mux.HandleFunc("GET /readyz", checkHandler(h.Ready))
	if h.Gatherer != nil {
		clock := h.Clock
		if clock == nil {
			clock = time.Now
		}
		mux.Handle("GET /metrics", &metricsPage{gatherer: h.Gatherer, clock: clock})
	}
	for pattern, handler := range h.Handlers {
		mux.Handle(pattern, handler)
	}
	return mux
}

// checkHandler returns a handler that answers 200, or 503 with the error of check.
func checkHandler(check Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check != nil {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

// metricsPage serves the text of the metrics. It encodes the metrics at most once per limits.MetricsAge for all
// clients, because the port is open to everybody.
type metricsPage struct {
	gatherer prometheus.Gatherer
	clock    func() time.Time

	mu        sync.Mutex
	encodedAt time.Time
	plain     []byte
	gzipped   []byte
	err       error
}

// ServeHTTP implements http.Handler.
func (p *metricsPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain, packed, err := p.cachedText()
	if err != nil {
		http.Error(w, "gathering the metrics failed; see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		plain = packed
	}
	_, _ = w.Write(plain)
}

// cachedText returns the encoded metrics, plain and compressed with gzip.
func (p *metricsPage) cachedText() (plain, packed []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.clock(); p.encodedAt.IsZero() || now.Sub(p.encodedAt) >= limits.MetricsAge {
		p.encodedAt = now
		p.plain, p.gzipped, p.err = encodeMetrics(p.gatherer)
	}
	return p.plain, p.gzipped, p.err
}

// encodeMetrics gathers the metrics and writes them in the text format, plain and compressed with gzip.
func encodeMetrics(gatherer prometheus.Gatherer) (plain, packed []byte, err error) {
	families, err := gatherer.Gather()
	if err != nil {
		return nil, nil, err
	}
	var text, compressed bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return nil, nil, err
		}
	}
	writer := gzip.NewWriter(&compressed)
	if _, err := writer.Write(text.Bytes()); err != nil {
		return nil, nil, err
	}
	err = writer.Close()
	return text.Bytes(), compressed.Bytes(), err
}
