package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/akv2k8s/akv2k8s/src/diagnosis"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// heard is a transport that limits the size of responses and records the last one. The errors of the SDK lack this
// information: after retries until the deadline, or for an unreadable response, they name no cause.
type heard struct {
	next  policy.Transporter
	proxy func(*http.Request) (*url.URL, error)

	mu   sync.Mutex
	last *reply
}

// reply is a recorded response, or the error of a request without a response.
type reply struct {
	host, via string
	err       error
	status    int
	// own reports that the response has the format of the requested service; errorCode is the error code in it.
	own  bool
	code string
	// many reports that the metadata service has several identities.
	many bool
	wait time.Duration
}

// Do implements policy.Transporter.
func (h *heard) Do(request *http.Request) (*http.Response, error) {
	r := &reply{host: request.URL.Hostname()}
	response, err := h.next.Do(request)
	if err != nil {
		r.err = err
		h.note(r)
		return response, err
	}
	r.via = diagnosis.Via(h.proxyOf(request))
	content, err := io.ReadAll(diagnosis.Bounded(response.Body, limits.SignInAnswerBytes))
	_ = response.Body.Close()
	if err != nil {
		r.err = err
		h.note(r)
		return nil, err
	}
	r.status, r.wait = response.StatusCode,
		diagnosis.RetryAfter(response.Header.Get("Retry-After"), response.Header.Get("Date"))
	r.parse(content)
	h.note(r)
	response.Body = io.NopCloser(bytes.NewReader(content))
	return response, nil
}

// note records a reply. An error that only reports the end of the context does not replace an earlier reply.
func (h *heard) note(r *reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ended := errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded); !ended ||
		h.last == nil {
		h.last = r
	}
}

// forget clears the recorded reply before a new sign-in.
func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = nil
}

func (h *heard) latest() *reply {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

func (h *heard) proxyOf(request *http.Request) string {
	if h.proxy == nil {
		return ""
	}
	address, err := h.proxy(request)
	if err != nil || address == nil {
		return ""
	}
	return address.Host
}

// Patterns of error codes. Text that does not match is not used in messages.
var (
	oauthCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_]{1,40}$`) })
	entraCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^AADSTS\d{1,9}\b`) })
)

// parse determines whether the response has the format of the service, and its error code.
func (r *reply) parse(content []byte) {
	var body struct {
		Error       *string `json:"error"`
		Description string  `json:"error_description"`
		Codes       []int   `json:"error_codes"`
	}
	if json.Unmarshal(content, &body) != nil || !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return
	}
	r.own = r.status == http.StatusOK || body.Error != nil
	switch {
	case entraCode().MatchString(body.Description):
		r.code = entraCode().FindString(body.Description)
	case len(body.Codes) > 0:
		r.code = "AADSTS" + strconv.Itoa(body.Codes[0])
	case body.Error != nil && oauthCode().MatchString(*body.Error):
		r.code = *body.Error
	}
	r.many = strings.Contains(body.Description, "Multiple user assigned identities")
}

// nameIn returns the DNS failure in err; zero if there is none.
func nameIn(err error) diagnosis.Name {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return diagnosis.Name{}
	}
	return diagnosis.Name{Asked: dns.Name, NotFound: dns.IsNotFound}
}
