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

// recordingTransport is a transport that limits the size of responses and records the last one. The errors of the SDK
// lack this information: after retries until the deadline, or for an unreadable response, they name no cause.
type recordingTransport struct {
	next  policy.Transporter
	proxy func(*http.Request) (*url.URL, error)

	mu        sync.Mutex
	lastReply *tokenReply
}

// tokenReply is a recorded response, or the error of a request without a response.
type tokenReply struct {
	host, via string
	err       error
	status    int
	// isServiceReply reports that the response has the format of the requested service; errorCode is the error code in
	// it.
	isServiceReply bool
	errorCode      string
	// multipleIdentities reports that the metadata service has several identities.
	multipleIdentities bool
	retryAfter         time.Duration
}

// Do implements policy.Transporter.
func (h *recordingTransport) Do(request *http.Request) (*http.Response, error) {
	r := &tokenReply{host: request.URL.Hostname()}
	response, err := h.next.Do(request)
	if err != nil {
		r.err = err
		h.recordReply(r)
		return response, err
	}
	r.via = diagnosis.ViaProxy(h.proxyHost(request))
	content, err := io.ReadAll(diagnosis.LimitBody(response.Body, limits.SignInAnswerBytes))
	_ = response.Body.Close()
	if err != nil {
		r.err = err
		h.recordReply(r)
		return nil, err
	}
	r.status, r.retryAfter = response.StatusCode,
		diagnosis.ParseRetryAfter(response.Header.Get("Retry-After"), response.Header.Get("Date"))
	r.parse(content)
	h.recordReply(r)
	response.Body = io.NopCloser(bytes.NewReader(content))
	return response, nil
}

// recordReply records a reply. An error that only reports the end of the context does not replace an earlier reply.
func (h *recordingTransport) recordReply(r *tokenReply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ended := errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded); !ended ||
		h.lastReply == nil {
		h.lastReply = r
	}
}

// clearReply clears the recorded reply before a new sign-in.
func (h *recordingTransport) clearReply() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastReply = nil
}

func (h *recordingTransport) latestReply() *tokenReply {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastReply
}

func (h *recordingTransport) proxyHost(request *http.Request) string {
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
	oauthCodePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_]{1,40}$`) })
	entraCodePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^AADSTS\d{1,9}\b`) })
)

// parse determines whether the response has the format of the service, and its error code.
func (r *tokenReply) parse(content []byte) {
	var body struct {
		Error       *string `json:"error"`
		Description string  `json:"error_description"`
		Codes       []int   `json:"error_codes"`
	}
	if json.Unmarshal(content, &body) != nil || !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return
	}
	r.isServiceReply = r.status == http.StatusOK || body.Error != nil
	switch {
	case entraCodePattern().MatchString(body.Description):
		r.errorCode = entraCodePattern().FindString(body.Description)
	case len(body.Codes) > 0:
		r.errorCode = "AADSTS" + strconv.Itoa(body.Codes[0])
	case body.Error != nil && oauthCodePattern().MatchString(*body.Error):
		r.errorCode = *body.Error
	}
	r.multipleIdentities = strings.Contains(body.Description, "Multiple user assigned identities")
}

// dnsFailureOf returns the DNS failure in err; zero if there is none.
func dnsFailureOf(err error) diagnosis.DNSResult {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return diagnosis.DNSResult{}
	}
	return diagnosis.DNSResult{Name: dns.Name, NotFound: dns.IsNotFound}
}
