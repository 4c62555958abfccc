package ociimage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Errors about answers. Only the log shows their texts.
var (
	errTooLong    = errors.New("the answer is too long")
	errTooComplex = errors.New("the answer has too many JSON elements or levels")
	errChallenge  = errors.New("the WWW-Authenticate headers are too long")
)

// trace records the first failure of the calls of one look-up, and whether a registry answered. It travels in the
// context, because the registry client drops the causes of errors.
type trace struct {
	// registry is the host whose image is looked up.
	registry string

	mu sync.Mutex
	// cause is the first failure of a call.
	cause error
	// spoke is true if an answer of that host has a mark that only registries give.
	spoke bool
}

type traceKey struct{}

func withTrace(ctx context.Context, t *trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traceOf returns the trace of the look-up, or a new one outside of a look-up.
func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

// fail records err if it is the first failure, and returns it.
func (t *trace) fail(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == nil {
		t.cause = err
	}
	return err
}

func (t *trace) firstFailure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

// notice records whether an answer of the registry's host has a header that only registries send.
func (t *trace) notice(r *http.Request, answer *http.Response) {
	if !strings.EqualFold(r.URL.Host, t.registry) {
		return
	}
	challenge := strings.ToLower(answer.Header.Get("WWW-Authenticate"))
	if answer.Header.Get("Docker-Distribution-Api-Version") != "" || strings.HasPrefix(challenge, "bearer ") &&
		strings.Contains(challenge, "realm=") {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.spoke = true
	}
}

func (t *trace) isRegistry() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spoke
}

// content is the type of content that a call requests. It determines the size limit of the answer.
type content int

const (
	ping content = iota
	manifest
	blob
	token
)

// contentOf classifies a call by its first request, before redirects.
func (t *trace) contentOf(r *http.Request) content {
	switch {
	case !strings.EqualFold(r.URL.Host, t.registry) || !strings.HasPrefix(r.URL.Path, "/v2/"):
		return token
	case r.URL.Path == "/v2/":
		return ping
	case strings.Contains(r.URL.Path, "/manifests/"):
		return manifest
	case strings.Contains(r.URL.Path, "/blobs/"):
		return blob
	}
	return token
}

// bound returns the most bytes that an answer with this content can have.
func (c content) bound() int64 {
	switch c {
	case manifest:
		return limits.ImageManifestBytes
	case blob:
		return limits.ImageConfigBytes
	case token:
		return limits.ImageTokenBytes
	}
	return limits.ImageErrorBytes
}

// readAnswer reads the whole body into memory, within its limit, and checks its JSON before anything decodes it.
func readAnswer(answer *http.Response, of content) error {
	defer func() { _ = answer.Body.Close() }()
	challenges := 0
	for _, challenge := range answer.Header.Values("WWW-Authenticate") {
		challenges += len(challenge)
	}
	if challenges > limits.ImageChallengeBytes {
		return errChallenge
	}
	bound, succeeded := of.bound(), answer.StatusCode == http.StatusOK && of != ping
	if !succeeded {
		bound = limits.ImageErrorBytes
	} else if answer.ContentLength > bound {
		return errTooLong
	}
	read, err := io.ReadAll(io.LimitReader(answer.Body, bound+1))
	if err != nil {
		return err
	}
	if int64(len(read)) > bound {
		if succeeded {
			return errTooLong
		}
		read = read[:bound] // only the status and the code of an error are used
	}
	if succeeded && !isModest(read) {
		return errTooComplex
	}
	answer.Body = io.NopCloser(bytes.NewReader(read))
	return nil
}

// weightOf returns what a character of JSON outside of strings adds to the depth and to the number of elements.
func weightOf(c byte) (depth, elements int) {
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

// isModest reports whether JSON is within the limits of elements and depth. It counts before anything is decoded,
// because three bytes of JSON can take hundreds of bytes of memory.
func isModest(text []byte) bool {
	elements, depth, quoted := 0, 0, false
	for n := 0; n < len(text); n++ {
		switch c := text[n]; {
		case quoted && c == '\\':
			n++
		case c == '"':
			quoted = !quoted
		case quoted:
		default:
			deeper, more := weightOf(c)
			depth, elements = depth+deeper, elements+more
		}
		if elements > limits.ImageAnswerElements || depth > limits.ImageAnswerDepth {
			return false
		}
	}
	return true
}
