package ociimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
)

// hosts is a network in memory: handlers by host. It serves tests that run on fake time or millions of times.
type hosts map[string]http.HandlerFunc

// RoundTrip implements http.RoundTripper. A handler that waits for the end of the request gives no answer.
func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, ok := h[r.URL.Host]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	recorder := httptest.NewRecorder()
	handler(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := recorder.Result()
	if challenge := recorder.Header().Values("WWW-Authenticate"); len(challenge) > 0 {
		answer.Header["Www-Authenticate"] = challenge
	}
	return answer, nil
}

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// memoryImages reads images from a network in memory; the log is what it returns second.
func memoryImages(t testing.TB, network http.RoundTripper, transport TransportConfig) (*Images, *lockedLog) {
	t.Helper()
	log := &lockedLog{}
	images, err := New(Config{Transport: &guardedTransport{transport, newCircuitBreaker(), network}, TagAge: time.Minute, Timeout: 20 * time.Second,
		Clock: time.Now, Log: funcr.New(func(_, args string) { log.write(args) }, funcr.Options{}),
		Registries: Registries{PlainHTTP: transport.PlainHTTP}})
	require.NoError(t, err)
	return images, log
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) write(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
)

// store answers as a registry that has some contents, by tag and digest.
type store struct {
	contents map[string][]byte
	types    map[string]string
}

func newStore() *store { return &store{contents: map[string][]byte{}, types: map[string]string{}} }

// put stores content under its digest and more names.
func (s *store) put(mediaType string, content []byte, names ...string) string {
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	for _, name := range append(names, digest) {
		s.contents[name], s.types[name] = content, mediaType
	}
	return digest
}

// image stores an image with a configuration and gives the descriptor of its manifest.
func (s *store) image(config map[string]any, names ...string) map[string]any {
	raw, _ := json.Marshal(config)
	digest := s.put("", raw)
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "layers": []any{},
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(raw)}})
	return map[string]any{"mediaType": ociManifest, "digest": s.put(ociManifest, manifest, names...), "size": len(manifest)}
}

// index stores an index and gives its descriptor.
func (s *store) index(entries []map[string]any, names ...string) map[string]any {
	content, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": entries})
	return map[string]any{"mediaType": ociIndex, "digest": s.put(ociIndex, content, names...), "size": len(content)}
}

// runs is a configuration of an image that runs a command.
func runs(os, architecture, command string) map[string]any {
	return map[string]any{"os": os, "architecture": architecture, "config": map[string]any{"Cmd": []string{command}}}
}

func (s *store) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.URL.Path == "/v2/" {
		return
	}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	content, ok := s.contents[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if mediaType := s.types[name]; mediaType != "" {
		w.Header().Set("Content-Type", mediaType)
	}
	_, _ = w.Write(content)
}
