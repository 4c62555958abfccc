package ratelimit

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// Call is an in-flight call that several readers share. It has the highest priority of these readers.
type Call struct {
	namespace       string
	highestPriority atomic.Int32
}

type callKey struct{}

// NewCall returns a call with the purpose of ctx, and a context that carries the call.
func NewCall(ctx context.Context) (*Call, context.Context) {
	p := keyvault.PurposeOf(ctx)
	c := &Call{namespace: p.Namespace}
	c.highestPriority.Store(int32(p.Priority))
	return c, context.WithValue(ctx, callKey{}, c)
}

// RaisePriority raises the priority of the call to p if p is higher. It is called for each reader that joins the call.
func (c *Call) RaisePriority(p keyvault.Priority) {
	for now := c.highestPriority.Load(); int32(p) > now &&
		!c.highestPriority.CompareAndSwap(now, int32(p)); now = c.highestPriority.Load() {
	}
}

func (c *Call) currentPriority() keyvault.Priority {
	return keyvault.Priority(c.highestPriority.Load())
}

// isUrgent reports whether a pod or a first sync waits for the call.
func (c *Call) isUrgent() bool { return c.currentPriority() > keyvault.PriorityRefresh }

// waiter waits for admission. Its channel receives nil on admission, or the error that rejects the call.
type waiter struct {
	call      *Call
	queuedAt  time.Time
	admission chan error
}

func newWaiter(ctx context.Context, now time.Time) *waiter {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		c, _ = NewCall(ctx)
	}
	return &waiter{call: c, queuedAt: now, admission: make(chan error, 1)}
}

// fairQueue holds waiters, oldest first, and admits them by priority and with namespaces in turn.
type fairQueue struct {
	waiters  []*waiter
	admitted int
	// lastAdmission maps a namespace to the sequence number of its last admission.
	lastAdmission map[string]int
}

// oldestFirstInterval is the interval of admissions at which the oldest waiter is admitted regardless of priority, so
// every waiter is admitted eventually.
const oldestFirstInterval = 8

func (q *fairQueue) isEmpty() bool { return len(q.waiters) == 0 }

func (q *fairQueue) add(w *waiter) { q.waiters = append(q.waiters, w) }

func (q *fairQueue) remove(w *waiter) bool {
	i := slices.Index(q.waiters, w)
	if i < 0 {
		return false
	}
	q.waiters = slices.Delete(q.waiters, i, i+1)
	return true
}

// rejectAll rejects all waiters with err.
func (q *fairQueue) rejectAll(err error) {
	for _, w := range q.waiters {
		w.admission <- err
	}
	q.waiters = nil
}

// takeNext removes and returns the waiter to admit: among those with the highest priority, one of the namespace that
// was admitted least recently. With urgentOnly it can be nil.
func (q *fairQueue) takeNext(urgentOnly bool) *waiter {
	best, longest := -1, (q.admitted+1)%oldestFirstInterval == 0
	for i, w := range q.waiters {
		if urgentOnly && !w.call.isUrgent() {
			continue
		}
		if best < 0 || !longest && q.comesBefore(w, q.waiters[best]) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	q.admitted++
	w := q.waiters[best]
	q.waiters = slices.Delete(q.waiters, best, best+1)
	if q.lastAdmission == nil || q.isEmpty() {
		q.lastAdmission = map[string]int{}
	}
	q.lastAdmission[w.call.namespace] = q.admitted
	return w
}

func (q *fairQueue) comesBefore(a, b *waiter) bool {
	if x, y := a.call.currentPriority(), b.call.currentPriority(); x != y {
		return x > y
	}
	return q.lastAdmission[a.call.namespace] < q.lastAdmission[b.call.namespace]
}
