package ociimage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Errors about answers. Only the log shows their texts.
var (
	errAnswerTooLong    = errors.New("the answer is too long")
	errAnswerTooComplex = errors.New("the answer has too many JSON elements or levels")
	errChallengeTooLong = errors.New("the WWW-Authenticate headers are too long")
	// errAnswersTooLarge says nothing about the registry.
	errAnswersTooLarge = errors.New("concurrent image look-ups hold too many bytes")
)

// lookupTrace records the first failure of the calls of one look-up, and whether a registry answered. It travels in the
// context, because the registry client drops the causes of errors.
type lookupTrace struct {
	// registry is the host whose image is looked up.
	registry string

	mu sync.Mutex
	// firstError is the first failure of a call.
	firstError error
	// answeredAsRegistry is true if an answer of that host has a mark that only registries give.
	answeredAsRegistry bool
	// answerBytes is the pool from which the answers take bytes, by owner. configBytes are those of the latest
	// configuration, otherBytes those of all other answers.
	answerBytes             *fairshare.Pool
	owner                   string
	configBytes, otherBytes int64
}

type traceKey struct{}

func withTrace(ctx context.Context, t *lookupTrace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traceFromContext returns the trace of the look-up, or a new one outside of a look-up.
func traceFromContext(ctx context.Context) *lookupTrace {
	if t, ok := ctx.Value(traceKey{}).(*lookupTrace); ok {
		return t
	}
	return &lookupTrace{}
}

// recordFailure records err if it is the first failure, and returns it.
func (t *lookupTrace) recordFailure(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.firstError == nil {
		t.firstError = err
	}
	return err
}

func (t *lookupTrace) firstFailure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.firstError
}

// recordAnswer records whether an answer of the registry's host has a header that only registries send.
func (t *lookupTrace) recordAnswer(r *http.Request, answer *http.Response) {
	if !strings.EqualFold(r.URL.Host, t.registry) {
		return
	}
	challenge := strings.ToLower(answer.Header.Get("WWW-Authenticate"))
	if answer.Header.Get("Docker-Distribution-Api-Version") != "" || strings.HasPrefix(challenge, "bearer ") &&
		strings.Contains(challenge, "realm=") {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.answeredAsRegistry = true
	}
}

func (t *lookupTrace) isRegistry() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answeredAsRegistry
}

// contentKind is the type of content that a call requests. It determines the size limit of the answer.
type contentKind int

const (
	contentPing contentKind = iota
	contentManifest
	contentBlob
	contentToken
)

// contentOf classifies a call by its first request, before redirects.
func (t *lookupTrace) contentOf(r *http.Request) contentKind {
	switch {
	case !strings.EqualFold(r.URL.Host, t.registry) || !strings.HasPrefix(r.URL.Path, "/v2/"):
		return contentToken
	case r.URL.Path == "/v2/":
		return contentPing
	case strings.Contains(r.URL.Path, "/manifests/"):
		return contentManifest
	case strings.Contains(r.URL.Path, "/blobs/"):
		return contentBlob
	}
	return contentToken
}

// maxBytes returns the most bytes that an answer with this content can have.
func (c contentKind) maxBytes() int64 {
	switch c {
	case contentManifest:
		return limits.ImageManifestBytes
	case contentBlob:
		return limits.ImageConfigBytes
	case contentToken:
		return limits.ImageTokenBytes
	case contentPing:
	}
	return limits.ImageErrorBytes
}

// readBody reads the body of an answer into memory of the owner's share. A configuration replaces the one before.
func (t *lookupTrace) readBody(body io.Reader, of contentKind, limit int64) ([]byte, error) {
	held := &t.otherBytes
	if of == contentBlob {
		held = &t.configBytes
		t.answerBytes.Release(t.owner, t.configBytes)
		t.configBytes = 0
	}
	content, taken, err := t.answerBytes.ReadAll(t.owner, body, limit)
	*held += taken
	if errors.Is(err, fairshare.ErrShareExceeded) {
		err = errAnswersTooLarge
	}
	return content, err
}

// releaseAnswers releases the memory of all answers at the end of the attempt.
func (t *lookupTrace) releaseAnswers() { t.answerBytes.Release(t.owner, t.configBytes+t.otherBytes) }

// bufferAnswer reads the whole body into memory, within its limit and that of all look-ups together, and checks its
// JSON before anything decodes it.
func (t *lookupTrace) bufferAnswer(answer *http.Response, of contentKind) error {
	defer func() { _ = answer.Body.Close() }()
	challenges := 0
	for _, challenge := range answer.Header.Values("WWW-Authenticate") {
		challenges += len(challenge)
	}
	if challenges > limits.ImageChallengeBytes {
		return errChallengeTooLong
	}
	bound, succeeded := of.maxBytes(), answer.StatusCode == http.StatusOK && of != contentPing
	if !succeeded {
		bound = limits.ImageErrorBytes
	} else if answer.ContentLength > bound {
		return errAnswerTooLong
	}
	read, err := t.readBody(answer.Body, of, bound)
	if err != nil {
		return err
	}
	if int64(len(read)) > bound {
		if succeeded {
			return errAnswerTooLong
		}
		read = read[:bound] // only the status and the code of an error are used
	}
	if succeeded && !isWithinJSONLimits(read) {
		return errAnswerTooComplex
	}
	answer.Body = io.NopCloser(bytes.NewReader(read))
	return nil
}

// jsonTokenWeight returns what a character of JSON outside of strings adds to the depth and to the number of elements.
func jsonTokenWeight(c byte) (depth, elements int) {
	switch c {
	case '{', '[':
		return 1, 1
	case '}', ']':
		return -1, 0
	case ',':
		return 0, 1
	}
	return 0, 0
}

// isWithinJSONLimits reports whether JSON is within the limits of elements and depth. It counts before anything is
// decoded, because three bytes of JSON can take hundreds of bytes of memory.
func isWithinJSONLimits(text []byte) bool {
	elements, depth, quoted := 0, 0, false
	for n := 0; n < len(text); n++ {
		switch c := text[n]; {
		case quoted && c == '\\':
			n++
		case c == '"':
			quoted = !quoted
		case quoted:
		default:
			deeper, more := jsonTokenWeight(c)
			depth, elements = depth+deeper, elements+more
		}
		if elements > limits.ImageAnswerElements || depth > limits.ImageAnswerDepth {
			return false
		}
	}
	return true
}
