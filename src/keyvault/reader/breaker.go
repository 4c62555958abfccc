package reader

import (
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

// breakerKey is the key of a circuit breaker: one identity at one vault. A vault or identity that does not respond
// delays only its own calls.
type breakerKey struct {
	vault    string
	identity keyvault.Identity
}

// circuitBreakers holds the circuit breakers, and limits the concurrent calls by identity, vault and priority.
type circuitBreakers struct {
	clock         func() time.Time
	maxConcurrent int
	// maxPerNamespace limits the calls of one namespace among them.
	maxPerNamespace int
	callTimeout     time.Duration

	mu    sync.Mutex
	byKey map[breakerKey]*circuitBreaker
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

// admitCall admits a call when the breaker allows it and a slot is free. The caller passes the result of the call to
// leave.
func (d *circuitBreakers) admitCall(ctx context.Context, ref keyvault.Ref) (leave func(error), err error) {
	key, purpose := breakerKey{ref.Vault, ref.Identity}, keyvault.PurposeOf(ctx)
	at, trying, err := d.acquireBreaker(key)
	if err != nil {
		return nil, err
	}
	places := at.slotsByPriority[purpose.Priority]
	if !places.acquireSlot(ctx, purpose.Namespace) {
		err = ratelimit.BusyError(ref.Vault, slotWaitTimeout)
		d.recordOutcome(key, at, callOutcome{err: err, isProbe: trying})
		return nil, err
	}
	began := d.clock()
	return func(err error) {
		places.releaseSlot(purpose.Namespace)
		d.recordOutcome(key, at, callOutcome{err: err, isProbe: trying, duration: d.clock().Sub(began)})
	}, nil
}

// callOutcome describes how a call ended.
type callOutcome struct {
	err      error
	duration time.Duration
	isProbe  bool
}

// acquireBreaker returns the breaker for key, or the error with which it rejects the call. trying reports that the call
// is a probe.
func (d *circuitBreakers) acquireBreaker(key breakerKey) (at *circuitBreaker, trying bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.byKey[key]
	if !ok {
		at = d.newBreaker(key)
	}
	if at.consecutiveTimeouts >= timeoutsToTrip {
		if rest := at.retryAt.Sub(d.clock()); rest > 0 || at.probing {
			return nil, false, openBreakerError(at.lastError, max(rest, firstOpenTime))
		}
		at.probing, trying = true, true
	}
	at.activeCalls++
	return at, trying, nil
}

func (d *circuitBreakers) newBreaker(key breakerKey) *circuitBreaker {
	if len(d.byKey) >= limits.CircuitBreakers {
		maps.DeleteFunc(d.byKey, func(_ breakerKey, at *circuitBreaker) bool { return at.activeCalls == 0 })
	}
	at := &circuitBreaker{}
	for p := range at.slotsByPriority {
		at.slotsByPriority[p] = &namespaceSlots{free: d.maxConcurrent, maxPerNamespace: d.maxPerNamespace,
			heldByNamespace: map[string]int{}}
	}
	d.byKey[key] = at
	return at
}

// openBreakerError returns the error of a rejected call. It has the cause and the advice of the last timeout.
func openBreakerError(said error, rest time.Duration) error {
	e := &fault.Error{Kind: fault.Unavailable, Operation: "pausing calls after repeated timeouts", RetryAfter: rest,
		Cause: said}
	var last *fault.Error
	if errors.As(said, &last) && last.Cause != nil {
		e.Cause, e.Next = last.Cause, last.Next
	}
	return e
}

// tripBreaker trips the breaker. Calls that began before a trip do not trip it again: many calls can wait for one
// connection.
func (at *circuitBreaker) tripBreaker(now time.Time) {
	at.retryAt = now.Add(min(firstOpenTime<<min(at.trips, 4), maxOpenTime))
	at.trips, at.trippedAt = at.trips+1, now
}

func (d *circuitBreakers) recordOutcome(key breakerKey, at *circuitBreaker, o callOutcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at.activeCalls--
	if o.isProbe {
		at.probing = false
	}
	switch {
	case ratelimit.IsDeferred(o.err): // the vault was not called
	case fault.KindOf(o.err) == fault.Unavailable && o.duration >= d.callTimeout/2:
		at.consecutiveTimeouts, at.lastError = at.consecutiveTimeouts+1, o.err
		if now := d.clock(); at.consecutiveTimeouts >= timeoutsToTrip && !now.Add(-o.duration).Before(at.trippedAt) {
			at.tripBreaker(now)
		}
	default:
		at.consecutiveTimeouts, at.trips, at.trippedAt = 0, 0, time.Time{}
	}
	if at.activeCalls == 0 && at.consecutiveTimeouts == 0 {
		delete(d.byKey, key)
	}
}
