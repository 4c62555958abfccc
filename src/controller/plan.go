package controller

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// entry is what the controller remembers of a resource between two syncs. Nothing of it is needed after a restart: without it
// the resource is simply looked at once more.
type entry struct {
	uid                 types.UID
	generation          int64
	labels, annotations map[string]string
	outputs             []store.Made
	due                 time.Time
	failures            int
	failure             fault.Kind
	// pending are restarts of workloads that wait for their time.
	pending pending
	// succeeded is when the last sync ended well, and expires the first expiry date of its objects; both may be zero.
	succeeded, expires time.Time
}

// about says whether the entry is of this very state of the resource.
func (e entry) about(r *v2beta1.AzureKeyVaultSecret) bool {
	return e.uid == r.UID && e.generation == r.Generation && maps.Equal(e.labels, r.Labels) && maps.Equal(e.annotations, r.Annotations)
}

// memory is safe for concurrent use; the zero value is empty.
type memory struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]entry
}

func (m *memory) recall(name types.NamespacedName) (entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[name]
	return e, ok
}

func (m *memory) keep(name types.NamespacedName, e entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[types.NamespacedName]entry{}
	}
	m.entries[name] = e
}

// each calls a function with a copy of every entry.
func (m *memory) each(do func(name types.NamespacedName, e entry)) {
	m.mu.Lock()
	entries := maps.Clone(m.entries)
	m.mu.Unlock()
	for name, e := range entries {
		do(name, e)
	}
}

func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, name)
}

// idle says how long nothing needs to be done: the resource is as it was, its next look at the vault is not due, and its
// outputs were not touched. Zero means that it is time for a sync. Our own writes come back as events; this is where they end.
func (c *Controller) idle(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) (time.Duration, error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.memory.recall(name)
	if !known || !e.about(resource) || !e.due.After(c.Clock()) {
		return 0, nil
	}
	wait := max(e.wake().Sub(c.Clock()), time.Nanosecond)
	if e.failure != "" && e.failure != fault.Conflict {
		return wait, nil
	}
	for _, m := range e.outputs {
		if m.Version == "" {
			continue // it was not ours to write, and is not in the cache
		}
		if untouched, err := c.store.Untouched(ctx, name.Namespace, m); err != nil || !untouched {
			return 0, err
		}
	}
	return wait, nil
}

// stands says whether an output is known to be the desired one without a look at its data: it was right after the last sync, of which the
// resource and the data are the same, nobody wrote to it since, and no other resource has a part in it.
func (c *Controller) stands(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *store.Made) bool {
	e, known := c.memory.recall(types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name})
	if !known || !e.about(resource) || e.failure != "" {
		return false
	}
	for _, was := range e.outputs {
		same := was.Desired.Kind == m.Desired.Kind && was.Desired.Name == m.Desired.Name && was.Hash == m.Hash
		if !same || !was.Alone || was.Version == "" {
			continue
		}
		if untouched, err := c.store.Untouched(ctx, resource.Namespace, was); err != nil || !untouched {
			return false
		}
		m.Existed, m.Since, m.Version, m.Alone = true, was.Since, was.Version, true
		return true
	}
	return false
}

// plan remembers the outcome and says when to look again.
func (c *Controller) plan(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, o outcome) (ctrl.Result, error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	before, known := c.memory.recall(name)
	e := entry{
		uid: resource.UID, generation: resource.Generation, labels: resource.Labels, annotations: resource.Annotations,
		failure: o.kind(), outputs: remembered(o.outputs),
	}
	if before.uid == e.uid {
		e.succeeded, e.expires = before.succeeded, before.expires
	}
	e.pending = c.pend(before, known, resource, o)
	logger := log.FromContext(ctx)
	if o.kind() == fault.Bug {
		c.memory.keep(name, e)      // due at once
		return ctrl.Result{}, o.err // logged, counted and retried by controller-runtime
	}
	if o.err == nil {
		e.succeeded, e.expires = c.Clock(), o.expires(resource)
		e.due = c.due(resource.UID, o.recipe, e.expires)
		if o.changed() {
			logger.Info("synced", "result", o.summary())
		}
	} else {
		if before.failure == o.kind() && before.about(resource) {
			e.failures = before.failures + 1
		}
		e.due = c.Clock().Add(c.retryIn(resource.UID, o, e.failures))
		// Logged here and nowhere else: this is the actor that stops handling the error.
		logger.Info("sync failed", "reason", o.kind().Reason(), "error", o.err.Error(), "retryAt", e.due.UTC().Format(time.RFC3339))
	}
	c.memory.keep(name, e)
	return later(e.wake().Sub(c.Clock())), nil
}

// routine is the priority of a look that is merely due: below that of a first sync, which has the library's lowest, and of changes.
const routine = 2 * handler.LowPriority

// later asks for a look after a time. What happens to the resource meanwhile brings it forward, with the priority of that.
func later(wait time.Duration) ctrl.Result {
	priority := routine
	return ctrl.Result{RequeueAfter: wait, Priority: &priority}
}

// wake is when there is something to do: a look at the vault, or a restart.
func (e entry) wake() time.Time {
	if !e.pending.due.IsZero() && e.pending.due.Before(e.due) {
		return e.pending.due
	}
	return e.due
}

// remembered drops the data: nothing secret stays in memory longer than a sync.
func remembered(outputs []store.Made) []store.Made {
	kept := slices.Clone(outputs)
	for i, m := range kept {
		kept[i].Desired = output.Desired{Kind: m.Desired.Kind, Name: m.Desired.Name}
	}
	return kept
}

// due is when a resource that is in sync is looked at again. One that wants a single look still has to say that its object expires.
func (c *Controller) due(uid types.UID, r recipe.Recipe, expires time.Time) time.Time {
	now := c.Clock()
	if !r.Once() {
		return next(uid, r.Interval(c.Interval), now)
	}
	if warn := expires.Add(-c.ExpiryWarning); !expires.IsZero() && warn.After(now) {
		return warn
	}
	return now.Add(never)
}

// next is the first moment after now that is the resource's own in the interval. It depends on the uid alone, so the looks of
// many resources are spread over the interval, also after all were created at once and after a restart.
func next(uid types.UID, interval time.Duration, now time.Time) time.Time {
	phase := time.Duration(phaseOf(uid) % uint64(interval))
	at := now.Truncate(interval).Add(phase)
	if !at.After(now) {
		at = at.Add(interval)
	}
	return at
}

func phaseOf(uid types.UID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid))
	return h.Sum64() >> 1
}

// never is how long a resource rests that can't work until somebody changes it; the change itself wakes it.
const never = 10 * 365 * 24 * time.Hour

// backoff is the first wait after a failure and the longest; it doubles in between.
type backoff struct{ first, longest time.Duration }

func (b backoff) after(failures int) time.Duration {
	wait := b.first
	for range failures {
		if wait *= 2; wait >= b.longest {
			return b.longest
		}
	}
	return wait
}

// retryIn is the table of architecture: what each kind of failure waits for.
func (c *Controller) retryIn(uid types.UID, o outcome, failures int) time.Duration {
	now, err := c.Clock(), o.err
	switch o.kind() {
	case fault.Invalid:
		return never
	case fault.Malformed, fault.NotFound, fault.Disabled:
		return next(uid, o.recipe.Interval(c.Interval), now).Sub(now)
	case fault.Unauthenticated, fault.Denied:
		return backoff{2 * time.Second, 5 * time.Minute}.after(failures)
	case fault.Throttled:
		return max(fault.RetryAfter(err), backoff{2 * time.Second, time.Minute}.after(failures))
	case fault.Unavailable:
		return max(fault.RetryAfter(err), backoff{time.Second, 30 * time.Second}.after(failures))
	default: // Conflict
		return backoff{10 * time.Second, 5 * time.Minute}.after(failures)
	}
}
