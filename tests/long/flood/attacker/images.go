package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// largeImages is a registry without TLS. Each of its images has a command of 7 MiB. The path of a manifest names the
// image, and the manifest's digest the config of that image.
func largeImages(ctx context.Context, a *attacker) string {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":5001")
	if err != nil { // another worker listens already
		<-ctx.Done()
		return "idle"
	}
	server := &http.Server{Handler: &imageServer{attacker: a}, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	_ = server.Serve(listener)
	return "closed"
}

// imageServer serves images. It makes one answer at a time, because the attacker's own memory is limited, too.
type imageServer struct {
	attacker *attacker
	mu       sync.Mutex
}

// ServeHTTP implements http.Handler.
func (s *imageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image, object, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	if !ok { // the check of the API's version
		return
	}
	content := largeConfig(image)
	if strings.HasPrefix(object, "manifests/") {
		content = manifestOf(content)
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digest(content))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write([]byte(content)) // nothing is written to a HEAD
	s.attacker.count("200")
}

// largeConfig is the config of an image.
func largeConfig(image string) string {
	return `{"architecture":"amd64","os":"linux","config":{"Cmd":["/program","` + image +
		strings.Repeat("a", 7<<20) + `"]},"rootfs":{"type":"layers","diff_ids":[]}}`
}

// manifestOf is the manifest of an image with this config.
func manifestOf(config string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{`+
		`"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[]}`,
		digest(config), len(config))
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256:" + hex.EncodeToString(sum[:])
}
