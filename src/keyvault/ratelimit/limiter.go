package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Config configures a Limiter; every field but RecordWait is required.
type Config struct {
	// Clock returns the current time.
	Clock func() time.Time
	// VaultLimit limits the calls of this process to one vault in ten seconds, TotalLimit the calls to all vaults
	// together.
	VaultLimit, TotalLimit int
	// MaxConcurrent limits the concurrent calls to one vault.
	MaxConcurrent int
	// RecordWait receives the time that a call spent in the queue; can be nil.
	RecordWait func(vault string, p keyvault.Priority, waited time.Duration)
}

// Limiter limits the rate of calls of a process. It is safe for concurrent use.
type Limiter struct {
	config Config

	mu          sync.Mutex
	vaults      map[string]*vaultState
	totalBucket tokenBucket
}

// vaultState is the state of one vault.
type vaultState struct {
	name        string
	bucket      tokenBucket
	throttle    backgroundThrottle
	queue       fairQueue
	activeCalls int
	// pausedUntil is the end of the current pause; no call is admitted before it.
	pausedUntil time.Time
	// consecutiveRejections counts consecutive 429 responses; it sets the length of a pause without a Retry-After.
	consecutiveRejections int
	// timer fires when the next waiter can be admitted.
	timer    *time.Timer
	timerDue time.Time
}

// The limits of pauses for which the vault names no time.
const (
	firstDefaultPause = time.Second
	maxDefaultPause   = 30 * time.Second
)

// Response is the response of a vault to one call. Status is the HTTP status code; 0 if there was no response.
type Response struct {
	Status     int
	RetryAfter time.Duration
}

// statusTooManyRequests starts a pause even without a Retry-After header.
const statusTooManyRequests = 429

var (
	errPaused = errors.New("the vault asked for a pause (429 or Retry-After)")
	errBusy   = errors.New("too many calls to the vault are waiting")
)

// IsDeferred reports whether err means that a call was deferred. The vault was not called, so the state of the object
// is unknown.
func IsDeferred(err error) bool { return errors.Is(err, errPaused) || errors.Is(err, errBusy) }

// IsPaused reports whether a call was deferred because the vault asked for a pause.
func IsPaused(err error) bool { return errors.Is(err, errPaused) }

// PausedError returns the error of a call that is deferred because the vault asked for a pause.
func PausedError(vault string, retryAfter time.Duration) error {
	return deferredError(errPaused, vault, retryAfter)
}

// BusyError returns the error of a call that is deferred because too many other calls wait.
func BusyError(vault string, retryAfter time.Duration) error {
	return deferredError(errBusy, vault, retryAfter)
}

func deferredError(why error, vault string, retryAfter time.Duration) error {
	return &fault.Error{Kind: fault.Throttled, Operation: fmt.Sprintf("waiting for vault %q", vault), Cause: why,
		RetryAfter: retryAfter,
		Next: "the read is repeated automatically; if this continues, find other callers of the vault, lengthen " +
			"refresh intervals, or check the values under vaultLimits"}
}

// New returns a Limiter. It fails if the configuration is incomplete.
func New(c Config) (*Limiter, error) {
	if err := fault.RequireFields("ratelimit.New", map[string]bool{
		"Clock": c.Clock != nil, "VaultLimit": c.VaultLimit >= 1, "TotalLimit": c.TotalLimit >= 1,
		"MaxConcurrent": c.MaxConcurrent > 0,
	}); err != nil {
		return nil, err
	}
	return &Limiter{config: c, vaults: map[string]*vaultState{}, totalBucket: newTokenBucket(c.TotalLimit, c.Clock())},
		nil
}

// Acquire waits until a call to the vault is admitted, by the priority of the context's Call or Purpose. The caller
// passes the response of the vault to leave. During a pause, and when the context ends first, the call is deferred
// (IsDeferred).
func (g *Limiter) Acquire(ctx context.Context, name string) (leave func(Response), err error) {
	g.mu.Lock()
	v, w := g.stateOf(name), newWaiter(ctx, g.config.Clock())
	v.queue.add(w)
	g.admitWaiters(v)
	g.mu.Unlock()
	ctx, cancel := g.withEarlierDeadline(ctx)
	defer cancel()
	select {
	case err = <-w.admission:
	case <-ctx.Done():
		err = g.abandonWait(v, w)
	}
	if err != nil {
		return nil, err
	}
	began := g.config.Clock()
	if g.config.RecordWait != nil {
		g.config.RecordWait(name, w.call.currentPriority(), began.Sub(w.queuedAt))
	}
	return func(a Response) { g.finishCall(v, began, a) }, nil
}

// withEarlierDeadline returns a context that ends shortly before ctx, so there is time to return the reason. After the
// deadline of ctx the SDK only reports that the deadline was exceeded.
func (g *Limiter) withEarlierDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := deadline.Sub(g.config.Clock())
	return context.WithDeadline(ctx, deadline.Add(-min(left/10, errorReportingTime)))
}

// errorReportingTime is the time that an error needs to pass through the SDK.
const errorReportingTime = 200 * time.Millisecond

// abandonWait removes a waiter from the queue. If the waiter was admitted meanwhile, its slot goes to the next one.
func (g *Limiter) abandonWait(v *vaultState, w *waiter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !v.queue.remove(w) {
		if err := <-w.admission; err != nil {
			return err
		}
		v.activeCalls--
		g.admitWaiters(v)
	}
	return deferredError(errBusy, v.name, firstDefaultPause)
}

func (g *Limiter) stateOf(name string) *vaultState {
	now := g.config.Clock()
	if v, ok := g.vaults[name]; ok {
		return v
	}
	if len(g.vaults) >= limits.RateLimitedVaults {
		for other, v := range g.vaults {
			if v.activeCalls == 0 && v.queue.isEmpty() && !v.pausedUntil.After(now) && v.bucket.isIdle(now) &&
				!v.throttle.isActive(now) {
				delete(g.vaults, other)
			}
		}
	}
	v := &vaultState{name: name, bucket: newTokenBucket(g.config.VaultLimit, now)}
	v.throttle.fullRate = v.bucket.fullRate
	g.vaults[name] = v
	return v
}

// throttledQueueRecheck is the longest time after which a queue of throttled calls is checked again. A queued call
// becomes urgent when a pod joins it.
const throttledQueueRecheck = 100 * time.Millisecond

// admitWaiters admits waiters while there are slots and tokens; the caller holds mu.
func (g *Limiter) admitWaiters(v *vaultState) {
	now := g.config.Clock()
	if rest := v.pausedUntil.Sub(now); rest > 0 {
		v.queue.rejectAll(deferredError(errPaused, v.name, rest))
		return
	}
	for !v.queue.isEmpty() && v.activeCalls < g.config.MaxConcurrent {
		if wait := max(v.bucket.timeToNextToken(now), g.totalBucket.timeToNextToken(now)); wait > 0 {
			g.scheduleAdmission(v, wait)
			return
		}
		held := v.throttle.timeToNextToken(now)
		w := v.queue.takeNext(held > 0)
		if w == nil {
			g.scheduleAdmission(v, min(held, throttledQueueRecheck))
			return
		}
		v.bucket.tokens--
		g.totalBucket.tokens--
		v.throttle.recordCall(now, w.call.isUrgent())
		v.activeCalls++
		w.admission <- nil
	}
}

func (g *Limiter) scheduleAdmission(v *vaultState, wait time.Duration) {
	due := g.config.Clock().Add(wait)
	if v.timer != nil && !due.Before(v.timerDue) {
		return
	}
	if v.timer != nil {
		v.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if v.timer == timer { // otherwise an earlier timer replaced this one
			v.timer = nil
			g.admitWaiters(v)
		}
	})
	v.timer, v.timerDue = timer, due
}

func (g *Limiter) finishCall(v *vaultState, began time.Time, a Response) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.activeCalls--
	now := g.config.Clock()
	// Responses to calls that began before the last 429 carry no new information.
	news := !began.Before(v.bucket.loweredAt)
	switch {
	case a.Status == statusTooManyRequests:
		if news {
			v.consecutiveRejections++
			v.bucket.halveRate(now)
			v.throttle.slowDown(now)
		}
		v.pauseCalls(now, a.RetryAfter)
	case a.RetryAfter > 0: // with any status
		v.pauseCalls(now, a.RetryAfter)
	case a.Status > 0 && news:
		v.consecutiveRejections = 0
	}
	g.admitWaiters(v)
}

// pauseCalls starts a pause, or extends the current one.
func (v *vaultState) pauseCalls(now time.Time, named time.Duration) {
	pause := min(named, limits.VaultRetryAfter)
	if pause <= 0 {
		pause = firstDefaultPause
		for n := 1; n < v.consecutiveRejections && pause < maxDefaultPause; n++ {
			pause = min(2*pause, maxDefaultPause)
		}
	}
	if until := now.Add(pause); until.After(v.pausedUntil) {
		v.pausedUntil = until
	}
}
