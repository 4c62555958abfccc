package controller

import (
	"context"
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
	"github.com/akv2k8s/akv2k8s/src/controller/timing"
	"github.com/akv2k8s/akv2k8s/src/controller/usage"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/governor"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// entry is what the controller remembers of a resource between two syncs. Nothing of it is needed after a restart:
// without it the resource is simply looked at once more.
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
	return e.uid == r.UID && e.generation == r.Generation && maps.Equal(e.labels, r.Labels) &&
		maps.Equal(e.annotations, r.Annotations)
}

// memory is safe for concurrent use; the zero value is empty.
type memory struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]entry
	// putOff is since when reads of a resource are put off.
	putOff timing.Since
	// uses are of resources that are in sync.
	uses usage.Index
	// expired is when a sync was asked for since the last one began. A sync that was running then may have read the old
	// value, so its plan must not delay the one that was asked for.
	expired map[types.NamespacedName]time.Time
	// claims are on resources that this process synced.
	claims map[types.NamespacedName]claim
}

func (m *memory) recall(name types.NamespacedName) (entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[name]
	return e, ok
}

// keep gives the entry that is kept, which is due at once if a look was asked for meanwhile.
func (m *memory) keep(name types.NamespacedName, e entry) entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[types.NamespacedName]entry{}
	}
	if at, ok := m.expired[name]; ok && at.Before(e.due) {
		e.due = at
	}
	m.entries[name] = e
	return e
}

// beginSync notes that a sync begins: it serves whatever asked for one before.
func (m *memory) beginSync(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.expired, name)
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
	delete(m.claims, name)
	delete(m.expired, name)
	m.putOff.IsNot(name)
	m.uses.Set(name, nil)
}

// expire makes a resource's next look due.
func (m *memory) expire(name types.NamespacedName, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[name]; ok {
		e.due = now
		m.entries[name] = e
		if m.expired == nil {
			m.expired = map[types.NamespacedName]time.Time{}
		}
		m.expired[name] = now
	}
}

// putOff says whether nothing is known of the object, because its vault has to be spared, and when to ask again. What
// was not confirmed for two and a half intervals is told as old, whatever the reason, and so is what is put off for
// longer than a minute.
func (c *Controller) putOff(resource *v2beta1.AzureKeyVaultSecret, o outcome) (wait time.Duration, quiet bool) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	if !governor.PutOff(o.err) {
		c.memory.putOff.IsNot(name)
		return 0, false
	}
	now := c.Clock()
	told := c.memory.putOff.Is(name, now).Add(limits.QuietTime)
	if e, known := c.memory.recall(name); known && !e.succeeded.IsZero() && !o.recipe.Once() {
		if old := e.succeeded.Add(5 * o.recipe.Interval(c.Interval) / 2); old.Before(told) {
			told = old
		}
	}
	if !now.Before(told) {
		return 0, false
	}
	// A pause may be longer than that: it is looked at in time to say so, which costs no call.
	return min(timing.Spread(resource.UID, max(fault.RetryAfter(o.err), time.Second)), max(told.Sub(now), time.Second)),
		true
}

// idle says how long nothing needs to be done: the resource is as it was, its next look at the vault is not due, and
// its outputs were not touched. Zero means that it is time for a sync. Our own writes come back as events; this is
// where they end.
func (c *Controller) idle(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) (time.Duration, error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.memory.recall(name)
	if !known || !e.about(resource) || !e.due.After(c.Clock()) {
		return 0, nil
	}
	wait := max(e.wake().Sub(c.Clock()), time.Nanosecond) // zero would be a sync
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

// stands says whether an output is known to be the desired one without a look at its data: it was right after the last
// sync, of which the resource and the data are the same, nobody wrote to it since, and no other resource has a part in
// it.
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
		m.Existed, m.Since, m.Version, m.Alone, m.Shared = true, was.Since, was.Version, true, was.Shared
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
		c.memory.uses.Set(name, objects(o.contents))
		if o.changed() {
			logger.Info("synced", "result", o.summary())
		}
	} else {
		// Failures that take turns count together: each for itself would be tried every second for ever, with an event
		// and a status each time.
		if before.failure != "" && before.about(resource) {
			e.failures = before.failures + 1
		}
		e.due = c.Clock().Add(c.retryIn(resource.UID, o, e.failures))
		// Logged here and nowhere else: this is the actor that stops handling the error.
		logger.Info("sync failed", "reason", o.kind().Reason(), "error", o.err.Error(), "retryAt",
			e.due.UTC().Format(time.RFC3339))
	}
	e = c.memory.keep(name, e)
	return later(e.wake().Sub(c.Clock())), nil
}

// routine is the priority of a look that is merely due: below that of a first sync, which has the library's lowest, and
// of changes.
const routine = 2 * handler.LowPriority

// later asks for a look after a time, or at once if its time came while it was planned: controller-runtime takes zero
// and less for never. What happens to the resource meanwhile brings it forward, with the priority of that.
func later(wait time.Duration) ctrl.Result {
	priority := routine
	return ctrl.Result{RequeueAfter: max(wait, time.Nanosecond), Priority: &priority}
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

// due is when a resource that is in sync is looked at again. One that wants a single look still has to say that its
// object expires.
func (c *Controller) due(uid types.UID, r recipe.Recipe, expires time.Time) time.Time {
	now := c.Clock()
	if !r.Once() {
		return timing.Next(uid, r.Interval(c.Interval), now)
	}
	if warn := expires.Add(-c.ExpiryWarning); !expires.IsZero() && warn.After(now) {
		return warn
	}
	return now.Add(never)
}

// never is how long a resource rests that can't work until somebody changes it; the change itself wakes it.
const never = 10 * 365 * 24 * time.Hour

// retryIn is what each kind of failure waits for.
func (c *Controller) retryIn(uid types.UID, o outcome, failures int) time.Duration {
	switch o.kind() {
	case fault.Invalid:
		return never
	case fault.Malformed, fault.NotFound, fault.Disabled:
		return timing.Next(uid, o.recipe.Interval(c.Interval), c.Clock()).Sub(c.Clock())
	default:
		return min(limits.UntriedTime, timing.Retry(uid, o.err, failures))
	}
}
