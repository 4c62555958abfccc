package keyvault

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault makes calls go wrong. An empty field matches everything.
type Fault struct {
	// Vault, Operation (get, list, versions, set, …) and Name say which calls.
	Vault     string `json:"vault,omitempty"`
	Operation string `json:"operation,omitempty"`
	Name      string `json:"name,omitempty"`
	// Status is answered, with Code as the error's code; 0 leaves the answer alone.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	// Inner is the code inside of the error, which says why; for a 403 for example ForbiddenByConnection.
	Inner string `json:"inner,omitempty"`
	// Header is added to the answer, such as Location, or a Retry-After that makes no sense.
	Header map[string]string `json:"header,omitempty"`
	// Body is answered as it is, with Status (200 if that is 0), for answers that make no sense.
	Body string `json:"body,omitempty"`
	// RetryAfter is a header of the answer, in seconds; 0 sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
	// LatencyMillis delays the answer.
	LatencyMillis int `json:"latencyMillis,omitempty"`
	// Drop closes the connection without an answer; with Body, in the middle of one that begins so.
	Drop bool `json:"drop,omitempty"`
	// RefuseTokens treats every token as expired.
	RefuseTokens bool `json:"refuseTokens,omitempty"`
	// Challenge replaces the WWW-Authenticate header of a 401.
	Challenge string `json:"challenge,omitempty"`
	// Times is how often the fault strikes; 0 is for ever.
	Times int `json:"times,omitempty"`
	// Over spares so many calls in any ten seconds, as Azure's limits do; 0 spares none. Calls that the fault strikes
	// count too.
	Over int `json:"over,omitempty"`

	struck int
	// seen are the last calls, Over of them.
	seen []time.Time
}

func (f *Fault) matches(c call) bool {
	is := func(want, got string) bool { return want == "" || strings.EqualFold(want, got) }
	return is(f.Vault, c.vault) && is(f.Operation, c.operation) && is(f.Name, c.name) &&
		(f.Times == 0 || f.struck < f.Times)
}

// counted is how long Azure counts calls.
const counted = 10 * time.Second

// spares says whether the call is one of those that are let through.
func (f *Fault) spares(now time.Time) bool {
	if f.Over == 0 {
		return false
	}
	few := len(f.seen) < f.Over || now.Sub(f.seen[len(f.seen)-f.Over]) >= counted
	f.seen = append(f.seen[max(0, len(f.seen)-f.Over+1):], now)
	return few
}

// Inject adds a fault.
func (s *Store) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes the faults that were made for one vault, or all with an empty name.
func (s *Store) Heal(vault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults,
		func(f *Fault) bool { return vault == "" || strings.EqualFold(f.Vault, vault) })
}

// strike gives the fault for a call, if there is one.
func (s *Store) strike(c call) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.matches(c) && !f.spares(s.Now()) {
			f.struck++
			return *f, true
		}
	}
	return Fault{}, false
}

// pause is how long a caller has to leave the vault alone after the answer: what the header says, or a second as Azure
// advises.
func (f Fault) pause() time.Duration {
	switch {
	case f.RetryAfter > 0:
		return time.Duration(f.RetryAfter) * time.Second
	case f.Status == http.StatusTooManyRequests:
		return time.Second
	}
	return 0
}

// onTheirWay is how long after such an answer calls may still come that were made before it came: on a busy machine a
// new connection takes some time.
const onTheirWay = 500 * time.Millisecond

// pauses are the times in which a caller, known by address, has to leave a vault alone. It is a witness: nothing is
// refused because of it.
type pauses struct {
	mu    sync.Mutex
	known map[string]pausing
}

type pausing struct{ began, until time.Time }

func (p *pauses) begin(who string, now time.Time, long time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]pausing{}
	}
	if is := p.known[who]; long > 0 && now.Add(long).After(is.until) {
		if now.After(is.until) {
			is.began = now
		}
		is.until = now.Add(long)
		p.known[who] = is
	}
}

// broken says how long after its beginning a call comes in a pause; zero if there is none, or the call may have been on
// its way.
func (p *pauses) broken(who string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := p.known[who]
	if late := now.Sub(is.began); late > onTheirWay && now.Before(is.until) {
		return late
	}
	return 0
}

// suffer carries out what a fault does to an answer; it says whether the answer is complete.
func (f Fault) suffer(w http.ResponseWriter, r *http.Request) bool {
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
		f.say(w)
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
	refuse(w, failure{f.Status, code, "The emulator was told to fail.", f.Inner})
	return true
}

// say answers the body, or promises more than it if the connection is to be closed.
func (f Fault) say(w http.ResponseWriter) {
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
