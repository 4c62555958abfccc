package breaker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Config configures a Fetcher; every field but MaxPerNamespace is required.
type Config struct {
	// Clock returns the current time.
	Clock func() time.Time
	// MaxConcurrent limits the concurrent calls of one identity to one vault, for each priority.
	MaxConcurrent int
	// MaxPerNamespace limits how many of these calls one namespace has; zero for no separate limit.
	MaxPerNamespace int
	// CallTimeout is the time limit of a call. A call that is unavailable after half of this time counts as a timeout.
	CallTimeout time.Duration
}

// Fetcher calls the next Fetcher when the circuit breaker allows it and a slot is free. It is safe for concurrent use.
type Fetcher struct {
	next   keyvault.Fetcher
	config Config

	mu       sync.Mutex
	breakers map[key]*circuitBreaker
}

var _ keyvault.Fetcher = (*Fetcher)(nil)

// key is the key of a circuit breaker: one identity at one vault.
type key struct {
	vault    string
	identity keyvault.Identity
}

// circuitBreaker is the circuit breaker of one identity at one vault.
type circuitBreaker struct {
	slotsByPriority [keyvault.PriorityPodStart + 1]*namespaceSlots
	activeCalls     int
	// consecutiveTimeouts counts consecutive timeouts. After timeoutsToTrip of them, calls are rejected until retryAt,
	// and then one probe is let through.
	consecutiveTimeouts int
	retryAt             time.Time
	probing             bool
	// trips counts the trips since the last success; trippedAt is the time of the last trip.
	trips     int
	trippedAt time.Time
	// lastError is the error of the last timeout.
	lastError error
}

const (
	// slotWaitTimeout is how long a call waits for a slot. A call that gets none is deferred, so its caller can do
	// other work.
	slotWaitTimeout = 2 * time.Second
	// timeoutsToTrip is the number of consecutive timeouts that trip the breaker.
	timeoutsToTrip = 3
	// firstOpenTime is how long calls are rejected after the first trip. Each further trip doubles the time, up to
	// maxOpenTime.
	firstOpenTime, maxOpenTime = 2 * time.Second, 30 * time.Second
)

// New returns a Fetcher that calls next. It fails if the configuration is incomplete.
func New(next keyvault.Fetcher, c Config) (*Fetcher, error) {
	if err := fault.RequireFields("breaker.New", map[string]bool{
		"next": next != nil, "Clock": c.Clock != nil, "MaxConcurrent": c.MaxConcurrent > 0,
		"CallTimeout": c.CallTimeout > 0,
	}); err != nil {
		return nil, err
	}
	c.MaxPerNamespace = cmp.Or(c.MaxPerNamespace, c.MaxConcurrent)
	return &Fetcher{next: next, config: c, breakers: map[key]*circuitBreaker{}}, nil
}

// Fetch implements keyvault.Fetcher. A call that gets no slot in time is deferred (ratelimit.IsDeferred).
func (f *Fetcher) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	finish, err := f.admitCall(ctx, ref)
	if err != nil {
		return keyvault.Object{}, &fault.Error{Kind: fault.KindOf(err), Operation: "reading " + ref.String(),
			RetryAfter: fault.RetryAfter(err), Cause: err}
	}
	object, err := f.next.Fetch(ctx, ref)
	finish(err)
	return object, err
}

// admitCall admits a call when the breaker allows it and a slot is free. The caller passes the result of the call to
// finish.
func (f *Fetcher) admitCall(ctx context.Context, ref keyvault.Ref) (finish func(error), err error) {
	k, purpose := key{ref.Vault, ref.Identity}, keyvault.PurposeOf(ctx)
	b, isProbe, err := f.acquireBreaker(k)
	if err != nil {
		return nil, err
	}
	slots := b.slotsByPriority[purpose.Priority]
	if !slots.acquireSlot(ctx, purpose.Namespace) {
		err = ratelimit.BusyError(ref.Vault, slotWaitTimeout)
		f.recordOutcome(k, b, callOutcome{err: err, isProbe: isProbe})
		return nil, err
	}
	began := f.config.Clock()
	return func(err error) {
		slots.releaseSlot(purpose.Namespace)
		f.recordOutcome(k, b, callOutcome{err: err, isProbe: isProbe, duration: f.config.Clock().Sub(began)})
	}, nil
}

// callOutcome describes how a call ended.
type callOutcome struct {
	err      error
	duration time.Duration
	isProbe  bool
}

// acquireBreaker returns the breaker of k, or the error with which it rejects the call. isProbe reports that the call
// is a probe.
func (f *Fetcher) acquireBreaker(k key) (b *circuitBreaker, isProbe bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.breakers[k]
	if !ok {
		b = f.addBreaker(k)
	}
	if b.consecutiveTimeouts >= timeoutsToTrip {
		if rest := b.retryAt.Sub(f.config.Clock()); rest > 0 || b.probing {
			return nil, false, openBreakerError(b.lastError, max(rest, firstOpenTime))
		}
		b.probing, isProbe = true, true
	}
	b.activeCalls++
	return b, isProbe, nil
}

// addBreaker adds a breaker; the caller holds mu.
func (f *Fetcher) addBreaker(k key) *circuitBreaker {
	if len(f.breakers) >= limits.CircuitBreakers {
		maps.DeleteFunc(f.breakers, func(_ key, b *circuitBreaker) bool { return b.activeCalls == 0 })
	}
	b := &circuitBreaker{}
	for p := range b.slotsByPriority {
		b.slotsByPriority[p] = &namespaceSlots{free: f.config.MaxConcurrent, maxPerNamespace: f.config.MaxPerNamespace,
			heldByNamespace: map[string]int{}}
	}
	f.breakers[k] = b
	return b
}

// openBreakerError returns the error of a rejected call. It has the cause and the advice of the last timeout.
func openBreakerError(lastError error, rest time.Duration) error {
	e := &fault.Error{Kind: fault.Unavailable, Operation: "pausing calls after repeated timeouts", RetryAfter: rest,
		Cause: lastError}
	var last *fault.Error
	if errors.As(lastError, &last) && last.Cause != nil {
		e.Cause, e.Next = last.Cause, last.Next
	}
	return e
}

// tripBreaker trips the breaker. Calls that began before a trip do not trip it again: many calls can wait for one
// connection.
func (b *circuitBreaker) tripBreaker(now time.Time) {
	b.retryAt = now.Add(min(firstOpenTime<<min(b.trips, 4), maxOpenTime))
	b.trips, b.trippedAt = b.trips+1, now
}

func (f *Fetcher) recordOutcome(k key, b *circuitBreaker, o callOutcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.activeCalls--
	if o.isProbe {
		b.probing = false
	}
	switch {
	case ratelimit.IsDeferred(o.err): // the vault was not called
	case fault.KindOf(o.err) == fault.Unavailable && o.duration >= f.config.CallTimeout/2:
		b.consecutiveTimeouts, b.lastError = b.consecutiveTimeouts+1, o.err
		now := f.config.Clock()
		if b.consecutiveTimeouts >= timeoutsToTrip && !now.Add(-o.duration).Before(b.trippedAt) {
			b.tripBreaker(now)
		}
	default:
		b.consecutiveTimeouts, b.trips, b.trippedAt = 0, 0, time.Time{}
	}
	if b.activeCalls == 0 && b.consecutiveTimeouts == 0 {
		delete(f.breakers, k)
	}
}
