package governor

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
	// PerVault limits the calls of this process to one vault in ten seconds, TotalLimit the calls to all vaults
	// together.
	PerVault, InAll int
	// Parallel limits the concurrent calls to one vault.
	Parallel int
	// Waited receives the time that a call spent in the queue; can be nil.
	Waited func(vault string, p keyvault.Priority, waited time.Duration)
}

// Governor limits the rate of calls of a process. It is safe for concurrent use.
type Governor struct {
	config Config

	mu     sync.Mutex
	vaults map[string]*vault
	all    bucket
}

// vault is the state of one vault.
type vault struct {
	name   string
	bucket bucket
	brake  brake
	queue  queue
	busy   int
	// closed is the end of the current pause; no call is admitted before it.
	closed time.Time
	// refusals counts consecutive 429 responses; it sets the length of a pause without a Retry-After.
	refusals int
	// timer fires when the next waiter can be admitted.
	timer *time.Timer
	wakes time.Time
}

// The limits of pauses for which the vault names no time.
const (
	firstUnnamed   = time.Second
	longestUnnamed = 30 * time.Second
)

// Answer is the response of a vault to one call. Status is the HTTP status code; 0 if there was no response.
type Answer struct {
	Status     int
	RetryAfter time.Duration
}

// tooManyRequests starts a pause even without a Retry-After header.
const tooManyRequests = 429

var (
	errPaused = errors.New("the vault asked for a pause (429 or Retry-After)")
	errBusy   = errors.New("too many calls to the vault are waiting")
)

// PutOff reports whether err means that a call was deferred. The vault was not called, so the state of the object is
// unknown.
func PutOff(err error) bool { return errors.Is(err, errPaused) || errors.Is(err, errBusy) }

// Paused reports whether a call was deferred because the vault asked for a pause.
func Paused(err error) bool { return errors.Is(err, errPaused) }

// Pause returns the error of a call that is deferred because the vault asked for a pause.
func Pause(vault string, retryAfter time.Duration) error { return putOff(errPaused, vault, retryAfter) }

// Busy returns the error of a call that is deferred because too many other calls wait.
func Busy(vault string, retryAfter time.Duration) error { return putOff(errBusy, vault, retryAfter) }

func putOff(why error, vault string, retryAfter time.Duration) error {
	return &fault.Error{Kind: fault.Throttled, Doing: fmt.Sprintf("waiting for vault %q", vault), Cause: why,
		RetryAfter: retryAfter,
		Next: "the read is repeated automatically; if this continues, find other callers of the vault, lengthen " +
			"refresh intervals, or check the values under vaultLimits"}
}

// New returns a Limiter. It fails if the configuration is incomplete.
func New(c Config) (*Governor, error) {
	if c.Clock == nil || c.PerVault < 1 || c.InAll < 1 || c.Parallel < 1 {
		return nil, errors.New("creating the rate limiter: a clock and limits of at least 1 are required")
	}
	return &Governor{config: c, vaults: map[string]*vault{}, all: newBucket(c.InAll, c.Clock())}, nil
}

// Enter waits until a call to the vault is admitted, by the priority of the context's Call or Purpose. The caller
// passes the response of the vault to leave. During a pause, and when the context ends first, the call is deferred
// (IsDeferred).
func (g *Governor) Enter(ctx context.Context, name string) (leave func(Answer), err error) {
	g.mu.Lock()
	v, w := g.vault(name), newWaiter(ctx, g.config.Clock())
	v.queue.add(w)
	g.dispatch(v)
	g.mu.Unlock()
	ctx, cancel := g.early(ctx)
	defer cancel()
	select {
	case err = <-w.turn:
	case <-ctx.Done():
		err = g.giveUp(v, w)
	}
	if err != nil {
		return nil, err
	}
	began := g.config.Clock()
	if g.config.Waited != nil {
		g.config.Waited(name, w.call.priority(), began.Sub(w.since))
	}
	return func(a Answer) { g.leave(v, began, a) }, nil
}

// early returns a context that ends shortly before ctx, so there is time to return the reason. After the deadline of
// ctx the SDK only reports that the deadline was exceeded.
func (g *Governor) early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := deadline.Sub(g.config.Clock())
	return context.WithDeadline(ctx, deadline.Add(-min(left/10, enoughToSay)))
}

// enoughToSay is the time that an error needs to pass through the SDK.
const enoughToSay = 200 * time.Millisecond

// giveUp removes a waiter from the queue. If the waiter was admitted meanwhile, its slot goes to the next one.
func (g *Governor) giveUp(v *vault, w *waiter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !v.queue.remove(w) {
		if err := <-w.turn; err != nil {
			return err
		}
		v.busy--
		g.dispatch(v)
	}
	return putOff(errBusy, v.name, firstUnnamed)
}

func (g *Governor) vault(name string) *vault {
	now := g.config.Clock()
	if v, ok := g.vaults[name]; ok {
		return v
	}
	if len(g.vaults) >= limits.GovernedVaults {
		for other, v := range g.vaults {
			if v.busy == 0 && v.queue.empty() && !v.closed.After(now) && v.bucket.rests(now) && !v.brake.on(now) {
				delete(g.vaults, other)
			}
		}
	}
	v := &vault{name: name, bucket: newBucket(g.config.PerVault, now)}
	v.brake.full = v.bucket.full
	g.vaults[name] = v
	return v
}

// glance is the longest time after which a queue of throttled calls is checked again. A queued call becomes urgent when
// a pod joins it.
const glance = 100 * time.Millisecond

// dispatch admits waiters while there are slots and tokens; the caller holds mu.
func (g *Governor) dispatch(v *vault) {
	now := g.config.Clock()
	if rest := v.closed.Sub(now); rest > 0 {
		v.queue.refuse(putOff(errPaused, v.name, rest))
		return
	}
	for !v.queue.empty() && v.busy < g.config.Parallel {
		if wait := max(v.bucket.wait(now), g.all.wait(now)); wait > 0 {
			g.wake(v, wait)
			return
		}
		held := v.brake.wait(now)
		w := v.queue.next(held > 0)
		if w == nil {
			g.wake(v, min(held, glance))
			return
		}
		v.bucket.tokens--
		g.all.tokens--
		v.brake.called(now, w.call.urgent())
		v.busy++
		w.turn <- nil
	}
}

func (g *Governor) wake(v *vault, wait time.Duration) {
	due := g.config.Clock().Add(wait)
	if v.timer != nil && !due.Before(v.wakes) {
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
			g.dispatch(v)
		}
	})
	v.timer, v.wakes = timer, due
}

func (g *Governor) leave(v *vault, began time.Time, a Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.busy--
	now := g.config.Clock()
	// Responses to calls that began before the last 429 carry no new information.
	news := !began.Before(v.bucket.lowered)
	switch {
	case a.Status == tooManyRequests:
		if news {
			v.refusals++
			v.bucket.slow(now)
			v.brake.slow(now)
		}
		v.close(now, a.RetryAfter)
	case a.RetryAfter > 0: // with any status
		v.close(now, a.RetryAfter)
	case a.Status > 0 && news:
		v.refusals = 0
	}
	g.dispatch(v)
}

// close starts a pause, or extends the current one.
func (v *vault) close(now time.Time, named time.Duration) {
	pause := min(named, limits.RetryAfter)
	if pause <= 0 {
		pause = firstUnnamed
		for n := 1; n < v.refusals && pause < longestUnnamed; n++ {
			pause = min(2*pause, longestUnnamed)
		}
	}
	if until := now.Add(pause); until.After(v.closed) {
		v.closed = until
	}
}
