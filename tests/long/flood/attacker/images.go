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
	var one sync.Mutex // the attacker's own memory is limited, too
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		image, object, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		config := largeConfig(image)
		switch {
		case !ok: // the check of the API's version
			w.WriteHeader(http.StatusOK)
			return
		case strings.HasPrefix(object, "manifests/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			content := manifestOf(config)
			w.Header().Set("Docker-Content-Digest", digest(content))
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write([]byte(content)) // nothing is written to a HEAD
		default:
			_, _ = w.Write([]byte(config))
		}
		a.count("200")
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	_ = server.Serve(listener)
	return "closed"
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
