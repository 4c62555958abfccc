package governor

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Call is a call that several may wait for; it is as urgent as the most urgent of them.
type Call struct {
	namespace string
	urgency   atomic.Int32
}

type callKey struct{}

// NewCall makes a call for the purpose of a context, and gives a context that belongs to the call.
func NewCall(ctx context.Context) (*Call, context.Context) {
	p := keyvault.PurposeOf(ctx)
	c := &Call{namespace: p.Namespace}
	c.urgency.Store(int32(p.Priority))
	return c, context.WithValue(ctx, callKey{}, c)
}

// Raise says that somebody else waits too, for whom it may be more urgent.
func (c *Call) Raise(p keyvault.Priority) {
	for now := c.urgency.Load(); int32(p) > now && !c.urgency.CompareAndSwap(now, int32(p)); now = c.urgency.Load() {
	}
}

func (c *Call) priority() keyvault.Priority { return keyvault.Priority(c.urgency.Load()) }

// urgent says whether somebody waits for it: a pod, or who made a resource.
func (c *Call) urgent() bool { return c.priority() > keyvault.Refresh }

// waiter waits for its turn, or for the error that says that there is none.
type waiter struct {
	call  *Call
	since time.Time
	turn  chan error
}

func newWaiter(ctx context.Context, now time.Time) *waiter {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		c, _ = NewCall(ctx)
	}
	return &waiter{call: c, since: now, turn: make(chan error, 1)}
}

// queue are waiters, the oldest first.
type queue struct {
	waiters []*waiter
	turns   int
	// served is at which turn a namespace had its last one.
	served map[string]int
}

// share is at which turns the one comes who waits longest, whoever it is, so that nobody waits for ever.
const share = 8

func (q *queue) empty() bool { return len(q.waiters) == 0 }

func (q *queue) add(w *waiter) { q.waiters = append(q.waiters, w) }

func (q *queue) remove(w *waiter) bool {
	i := slices.Index(q.waiters, w)
	if i < 0 {
		return false
	}
	q.waiters = slices.Delete(q.waiters, i, i+1)
	return true
}

// refuse sends everybody away.
func (q *queue) refuse(err error) {
	for _, w := range q.waiters {
		w.turn <- err
	}
	q.waiters = nil
}

// next takes out whose turn it is: of the most urgent the one whose namespace has waited longest for a turn. While only
// urgent ones are let through, there may be none.
func (q *queue) next(urgentOnly bool) *waiter {
	best, longest := -1, (q.turns+1)%share == 0
	for i, w := range q.waiters {
		if urgentOnly && !w.call.urgent() {
			continue
		}
		if best < 0 || !longest && q.before(w, q.waiters[best]) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	q.turns++
	w := q.waiters[best]
	q.waiters = slices.Delete(q.waiters, best, best+1)
	if q.served == nil || q.empty() {
		q.served = map[string]int{}
	}
	q.served[w.call.namespace] = q.turns
	return w
}

func (q *queue) before(a, b *waiter) bool {
	if x, y := a.call.priority(), b.call.priority(); x != y {
		return x > y
	}
	return q.served[a.call.namespace] < q.served[b.call.namespace]
}
