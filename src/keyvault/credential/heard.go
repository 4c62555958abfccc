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

// heard is a transport that bounds every answer and remembers the last one. The SDK's errors say little of it: where it
// keeps asking until the deadline, or can't read an answer, they say nothing at all.
type heard struct {
	next  policy.Transporter
	proxy func(*http.Request) (*url.URL, error)

	mu   sync.Mutex
	last *reply
}

// reply is what a service answered, or why it did not.
type reply struct {
	host, via string
	err       error
	status    int
	// own says that it is in the form of the service that was asked, and code is what that calls the error.
	own  bool
	code string
	// many says that the metadata service knows several identities.
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

// note keeps a reply, unless it only says that there was no time to ask once more.
func (h *heard) note(r *reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ended := errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded); !ended ||
		h.last == nil {
		h.last = r
	}
}

// forget begins the next sign-in.
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

// oauthCode keeps what is no code out of messages.
var (
	oauthCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_]{1,40}$`) })
	entraCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^AADSTS\d{1,9}\b`) })
)

// parse finds out whether an answer is a service's own, and what it calls the error.
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

// nameIn is what the DNS said, if an error is about that.
func nameIn(err error) diagnosis.Name {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return diagnosis.Name{}
	}
	return diagnosis.Name{Asked: dns.Name, NotFound: dns.IsNotFound}
}
