package broker

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/resolver"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// handleFilesRequest identifies the pod, reads from its spec which files it has, and writes their content, or that it
// has not changed. The request itself names nothing, so a running program cannot extend its access.
func (c *podRequest) handleFilesRequest(ctx context.Context) error {
	pod, err := c.identifyPod(ctx)
	if err != nil {
		return err
	}
	record, err := recordedFiles(pod)
	if err != nil {
		return err
	}
	if err := c.reserveRequestMemory(len(record)); err != nil {
		return err
	}
	var wanted wire.PodFiles
	if json.Unmarshal([]byte(record), &wanted) != nil {
		return fault.New(fault.Invalid, "%s of pod %q is not what the env-injector wrote; recreate the pod",
			wire.EnvFiles, c.caller.Pod)
	}
	if err := c.acquireNamespaceSlot(); err != nil {
		return err
	}
	known := parseETag(c.r.Header.Get("If-None-Match"))
	from := &resourceSource{Broker: c.Broker, namespace: c.caller.Namespace, maxAge: c.MaxAge}
	if known != nil {
		from.refresh = &wanted
	}
	files, err := resolver.Resolver{Source: from, ReserveBytes: c.reserveResponseMemory}.ResolveFiles(ctx, wanted,
		limits.FilesRefreshDefault)
	if err != nil {
		return err
	}
	c.emitStaleValueEvent(from)
	c.w.Header().Set(wire.HeaderRefreshAfter, strconv.FormatInt(int64(files.RefreshAfter(wanted)/time.Second), 10))
	defer c.logResponse(len(files.Directories), from)
	unchanged := known.matchesFiles(files)
	c.Metrics.countFiles(unchanged)
	if unchanged {
		c.w.Header().Set("ETag", known.String())
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	c.w.Header().Set("ETag", newETag(files).String())
	c.writeFiles(files)
	return nil
}

// recordedFiles returns the text of the wire.PodFiles in the spec of a pod. The spec cannot change after creation.
func recordedFiles(pod *corev1.Pod) (string, error) {
	for _, container := range pod.Spec.InitContainers {
		if container.Name != wire.FilesContainer && container.Name != wire.FilesInitContainer {
			continue
		}
		for _, variable := range container.Env {
			if variable.Name == wire.EnvFiles && variable.ValueFrom == nil &&
				len(variable.Value) <= limits.FilesRecordBytes {
				return variable.Value, nil
			}
		}
	}
	return "", fault.NewWithNextStep(fault.Denied,
		"set the annotation "+wire.AnnotationFiles+" before the pod is created", "pod %q was not created with files",
		pod.Name)
}

// maxAgeFor is the maximum age of an object of a resource. Pods that ask again, each at its own time, share the reads
// of the vault during an interval, unless the controller has found another value since.
func (s *resourceSource) maxAgeFor(r recipe.Recipe) time.Duration {
	if s.refresh == nil {
		return s.maxAge
	}
	ofResource := resolver.Files{RefreshInterval: r.RefreshIntervalOr(limits.FilesRefreshDefault)}
	interval := ofResource.RefreshAfter(*s.refresh)
	sinceChange := s.Clock().Sub(time.Unix(0, s.lastChange.Load()))
	return max(s.maxAge, min(interval, limits.FilesRefreshDefault, sinceChange))
}

// noteChange notes when the controller has found another value for a resource. A tenant who can write the status can
// cause reads with it, but none with a cache that is younger than that of a starting pod.
func (s *resourceSource) noteChange(at *metav1.Time) {
	for at != nil {
		before := s.lastChange.Load()
		if at.UnixNano() <= before || s.lastChange.CompareAndSwap(before, at.UnixNano()) {
			return
		}
	}
}

// eTag identifies the content of all files of a pod. Its key makes it useless for guessing a value from another pod's
// tag. The key is in the tag, so that each replica can compare.
type eTag struct{ key, sum []byte }

// etagKeyBytes is the length of the key of an eTag.
const etagKeyBytes = 16

func newETag(files resolver.Files) *eTag {
	key := make([]byte, etagKeyBytes)
	_, _ = rand.Read(key) // never fails
	return &eTag{key, files.Hash(key)}
}

// String implements fmt.Stringer.
func (e *eTag) String() string {
	return fmt.Sprintf("%q", base64.RawURLEncoding.EncodeToString(slices.Concat(e.key, e.sum)))
}

// parseETag parses a tag. It returns nil if the text is not one of ours.
func parseETag(text string) *eTag {
	inner, quoted := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !quoted || !closed || len(inner) != base64.RawURLEncoding.EncodedLen(etagKeyBytes+sha256.Size) {
		return nil
	}
	both, err := base64.RawURLEncoding.DecodeString(inner)
	if err != nil {
		return nil
	}
	return &eTag{both[:etagKeyBytes], both[etagKeyBytes:]}
}

// matchesFiles reports whether the tag is that of these files. A nil tag matches nothing.
func (e *eTag) matchesFiles(files resolver.Files) bool {
	return e != nil && hmac.Equal(e.sum, files.Hash(e.key))
}

// writeFiles writes a wire.FilesResponse in parts.
func (c *podRequest) writeFiles(files resolver.Files) {
	out := bufio.NewWriterSize(c.startResponse(http.StatusOK), responseChunkBytes)
	_, _ = out.WriteString(`{"directories":{`)
	for i, directory := range slices.Sorted(maps.Keys(files.Directories)) {
		writeKey(out, directory, i > 0)
		_ = out.WriteByte('{')
		entries := files.Directories[directory]
		for j, name := range slices.Sorted(maps.Keys(entries)) {
			writeKey(out, name, j > 0)
			fmt.Fprintf(out, `{"mode":%d,"content":`, entries[name].Mode)
			if writeBase64(out, entries[name].Content) != nil {
				return // the client does not read the rest
			}
			_ = out.WriteByte('}')
		}
		_ = out.WriteByte('}')
	}
	_, _ = out.WriteString("}}")
	if out.Flush() == nil {
		_ = c.responseControl.Flush()
	}
}

// priority orders the source's reads of the vault among others.
func (s *resourceSource) priority() keyvault.Priority {
	if s.refresh != nil {
		return keyvault.PriorityRefresh
	}
	return keyvault.PriorityPodStart
}
