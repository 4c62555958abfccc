package keyvault

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault makes matching calls fail. An empty Vault, Operation or Name matches all calls.
type Fault struct {
	// Vault, Operation (get, list, versions, set, …) and Name select the calls.
	Vault     string `json:"vault,omitempty"`
	Operation string `json:"operation,omitempty"`
	Name      string `json:"name,omitempty"`
	// Status is the HTTP status of the response, with the error code Code; 0 does not replace the response.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	// Inner is the inner error code, for example ForbiddenByConnection for a 403.
	Inner string `json:"inner,omitempty"`
	// Header is added to the response, such as Location, or an invalid Retry-After.
	Header map[string]string `json:"header,omitempty"`
	// Body is the response body, sent unchanged with Status (200 if that is 0), for malformed responses.
	Body string `json:"body,omitempty"`
	// RetryAfter is the Retry-After header in seconds; 0 sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
	// LatencyMillis delays the response.
	LatencyMillis int `json:"latencyMillis,omitempty"`
	// Drop closes the connection without a response; with Body, after a partial response that begins with Body.
	Drop bool `json:"drop,omitempty"`
	// RefuseTokens rejects every token as expired.
	RefuseTokens bool `json:"refuseTokens,omitempty"`
	// Challenge replaces the WWW-Authenticate header of a 401.
	Challenge string `json:"challenge,omitempty"`
	// Times is how often the fault applies; 0 means without limit.
	Times int `json:"times,omitempty"`
	// Over is the number of calls in any ten seconds to which the fault does not apply, as Azure's limits work; 0 means
	// that it applies to all. Calls that fail count too.
	Over int `json:"over,omitempty"`

	timesApplied int
	// recentCalls are the times of the last Over calls.
	recentCalls []time.Time
}

func (f *Fault) matchesCall(c call) bool {
	is := func(want, got string) bool { return want == "" || strings.EqualFold(want, got) }
	return is(f.Vault, c.vault) && is(f.Operation, c.operation) && is(f.Name, c.name) &&
		(f.Times == 0 || f.timesApplied < f.Times)
}

// limitWindow is the window in which Azure counts calls.
const limitWindow = 10 * time.Second

// isUnderLimit counts a call and reports whether it is within the limit Over, so the fault does not apply.
func (f *Fault) isUnderLimit(now time.Time) bool {
	if f.Over == 0 {
		return false
	}
	few := len(f.recentCalls) < f.Over || now.Sub(f.recentCalls[len(f.recentCalls)-f.Over]) >= limitWindow
	f.recentCalls = append(f.recentCalls[max(0, len(f.recentCalls)-f.Over+1):], now)
	return few
}

// AddFault adds a fault.
func (s *Store) AddFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// RemoveFaults removes the faults of one vault, or all faults if the name is empty.
func (s *Store) RemoveFaults(vault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults,
		func(f *Fault) bool { return vault == "" || strings.EqualFold(f.Vault, vault) })
}

// applicableFault returns the first fault that applies to a call.
func (s *Store) applicableFault(c call) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.matchesCall(c) && !f.isUnderLimit(s.Now()) {
			f.timesApplied++
			return *f, true
		}
	}
	return Fault{}, false
}

// retryDelay returns how long a caller must wait after the response: the Retry-After header, or a second after a 429,
// as Azure recommends.
func (f Fault) retryDelay() time.Duration {
	switch {
	case f.RetryAfter > 0:
		return time.Duration(f.RetryAfter) * time.Second
	case f.Status == http.StatusTooManyRequests:
		return time.Second
	}
	return 0
}

// inFlightTolerance is the time after such a response in which calls can still arrive that were sent before it. On a
// busy machine, a new connection takes some time.
const inFlightTolerance = 500 * time.Millisecond

// callerPauses records the periods in which a caller, identified by its address, must not call a vault. It only
// observes: no call is rejected because of it.
type callerPauses struct {
	mu       sync.Mutex
	byCaller map[string]pauseWindow
}

type pauseWindow struct{ began, until time.Time }

func (p *callerPauses) beginPause(who string, now time.Time, long time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byCaller == nil {
		p.byCaller = map[string]pauseWindow{}
	}
	if is := p.byCaller[who]; long > 0 && now.Add(long).After(is.until) {
		if now.After(is.until) {
			is.began = now
		}
		is.until = now.Add(long)
		p.byCaller[who] = is
	}
}

// timeIntoPause returns the time since the beginning of the caller's pause; zero if there is no pause, or if the call
// can have been sent before it.
func (p *callerPauses) timeIntoPause(who string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := p.byCaller[who]
	if late := now.Sub(is.began); late > inFlightTolerance && now.Before(is.until) {
		return late
	}
	return 0
}

// applyToResponse applies the fault to a response, and reports whether the response is complete.
func (f Fault) applyToResponse(w http.ResponseWriter, r *http.Request) bool {
	if f.LatencyMillis > 0 {
		select {
		case <-time.After(time.Duration(f.LatencyMillis) * time.Millisecond):
		case <-r.Context().Done():
		}
	}
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	if f.Body != "" {
		f.writeBody(w)
	}
	if f.Drop {
		panic(http.ErrAbortHandler) // the server closes the connection
	}
	if f.Body != "" {
		return true
	}
	if f.Status == 0 {
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	code := f.Code
	if code == "" {
		code = http.StatusText(f.Status)
	}
	replyError(w, apiError{f.Status, code, "A fault of the emulator applies.", f.Inner})
	return true
}

// writeBody writes the body. For a Drop, it announces a Content-Length that is larger than the body.
func (f Fault) writeBody(w http.ResponseWriter) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	if f.Drop {
		w.Header().Set("Content-Length", strconv.Itoa(2*len(f.Body)))
		defer func() { _ = http.NewResponseController(w).Flush() }()
	}
	w.WriteHeader(max(f.Status, http.StatusOK))
	_, _ = w.Write([]byte(f.Body))
}
