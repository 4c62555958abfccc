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

// Config is what a Governor works with; every field but Waited is required.
type Config struct {
	// Clock tells the time.
	Clock func() time.Time
	// PerVault is the most calls of one vault in ten seconds, InAll of all vaults together, by this process.
	PerVault, InAll int
	// Parallel is the most calls of one vault that are on their way at once.
	Parallel int
	// Waited is told how long a call waited for its turn; may be nil.
	Waited func(vault string, p keyvault.Priority, waited time.Duration)
}

// Governor paces the calls of a process. It is safe for concurrent use.
type Governor struct {
	config Config

	mu     sync.Mutex
	vaults map[string]*vault
	all    bucket
}

// vault is what is known of one.
type vault struct {
	name   string
	bucket bucket
	brake  brake
	queue  queue
	busy   int
	// closed is until when no call may be made.
	closed time.Time
	// refusals are those in a row that did not say for how long.
	refusals int
	// timer wakes the queue at a moment.
	timer *time.Timer
	wakes time.Time
}

// Bounds of pauses that a vault does not name.
const (
	firstUnnamed   = time.Second
	longestUnnamed = 30 * time.Second
)

// Answer is what a vault said to a call. Status is 0 if it said nothing.
type Answer struct {
	Status     int
	RetryAfter time.Duration
}

// tooManyRequests is the status that asks for a pause, also if it does not say for how long.
const tooManyRequests = 429

var (
	errPaused = errors.New("the vault said that it is called too often, and is left alone for a while")
	errBusy   = errors.New("more calls wait than the limits of the vault allow; others come first")
)

// PutOff says whether an error is of a call that was not made: nothing is known of the object, and it is as it was.
func PutOff(err error) bool { return errors.Is(err, errPaused) || errors.Is(err, errBusy) }

// Paused says whether that is because the vault asked to be left alone.
func Paused(err error) bool { return errors.Is(err, errPaused) }

// Pause is the error of a call that is put off because the vault asked for that.
func Pause(vault string, retryAfter time.Duration) error { return putOff(errPaused, vault, retryAfter) }

// Busy is the error of a call that is put off because too many others wait.
func Busy(vault string, retryAfter time.Duration) error { return putOff(errBusy, vault, retryAfter) }

func putOff(why error, vault string, retryAfter time.Duration) error {
	return &fault.Error{Kind: fault.Throttled, Doing: fmt.Sprintf("waiting for vault %q", vault), Cause: why,
		RetryAfter: retryAfter,
		Next: "it is tried again by itself; if it goes on, find out what else calls the vault, lengthen " +
			"refresh intervals, or look at the values vaultLimits"}
}

// New checks the configuration.
func New(c Config) (*Governor, error) {
	if c.Clock == nil || c.PerVault < 1 || c.InAll < 1 || c.Parallel < 1 {
		return nil, errors.New("creating the governor: a part of its configuration is missing")
	}
	return &Governor{config: c, vaults: map[string]*vault{}, all: newBucket(c.InAll, c.Clock())}, nil
}

// Enter waits until a call of the vault may be made, as the context's Call or Purpose says. Whoever got in tells by
// leave what the vault said. In a pause, and when the context ends before, the error is one of PutOff.
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

// early ends a little before the context does, so that it is still time to say why. Afterwards the SDK says only that
// time is over.
func (g *Governor) early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := deadline.Sub(g.config.Clock())
	return context.WithDeadline(ctx, deadline.Add(-min(left/10, enoughToSay)))
}

// enoughToSay is the time in which an error comes through the SDK.
const enoughToSay = 200 * time.Millisecond

// giveUp takes a waiter from the queue; if its turn came meanwhile, the next one has it.
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

// glance is how soon a queue of calls that are held back is looked at again: one may have become urgent, because
// somebody else waits for it too.
const glance = 100 * time.Millisecond

// dispatch gives turns, as many as there are; the caller holds mu.
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
		if v.timer == timer { // else another one came before it
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
	// Calls that were on their way when the vault refused another one say nothing new.
	news := !began.Before(v.bucket.lowered)
	switch {
	case a.Status == tooManyRequests:
		if news {
			v.refusals++
			v.bucket.slow(now)
			v.brake.slow(now)
		}
		v.close(now, a.RetryAfter)
	case a.RetryAfter > 0: // whatever else it says
		v.close(now, a.RetryAfter)
	case a.Status > 0 && news:
		v.refusals = 0
	}
	g.dispatch(v)
}

// close begins a pause, or makes it longer.
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
