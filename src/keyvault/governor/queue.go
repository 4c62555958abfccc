package governor

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Call is an in-flight call that several readers share. It has the highest priority of these readers.
type Call struct {
	namespace string
	urgency   atomic.Int32
}

type callKey struct{}

// NewCall returns a call with the purpose of ctx, and a context that carries the call.
func NewCall(ctx context.Context) (*Call, context.Context) {
	p := keyvault.PurposeOf(ctx)
	c := &Call{namespace: p.Namespace}
	c.urgency.Store(int32(p.Priority))
	return c, context.WithValue(ctx, callKey{}, c)
}

// Raise raises the priority of the call to p if p is higher. It is called for each reader that joins the call.
func (c *Call) Raise(p keyvault.Priority) {
	for now := c.urgency.Load(); int32(p) > now && !c.urgency.CompareAndSwap(now, int32(p)); now = c.urgency.Load() {
	}
}

func (c *Call) priority() keyvault.Priority { return keyvault.Priority(c.urgency.Load()) }

// urgent reports whether a pod or a first sync waits for the call.
func (c *Call) urgent() bool { return c.priority() > keyvault.Refresh }

// waiter waits for admission. Its channel receives nil on admission, or the error that rejects the call.
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

// queue holds waiters, oldest first, and admits them by priority and with namespaces in turn.
type queue struct {
	waiters []*waiter
	turns   int
	// served maps a namespace to the sequence number of its last admission.
	served map[string]int
}

// share is the interval of admissions at which the oldest waiter is admitted regardless of priority, so every waiter is
// admitted eventually.
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

// refuse rejects all waiters with err.
func (q *queue) refuse(err error) {
	for _, w := range q.waiters {
		w.turn <- err
	}
	q.waiters = nil
}

// next removes and returns the waiter to admit: among those with the highest priority, one of the namespace that was
// admitted least recently. With urgentOnly it can be nil.
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
