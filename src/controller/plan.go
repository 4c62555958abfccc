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

// entry is what the controller remembers of a resource between two syncs. It can be lost: without it, the resource is
// refreshed once more.
type entry struct {
	uid                 types.UID
	generation          int64
	labels, annotations map[string]string
	outputs             []store.Made
	due                 time.Time
	failures            int
	failure             fault.Kind
	// pending is the restart of workloads that waits for its time.
	pending pending
	// succeeded is the end of the last successful sync; zero if there was none.
	succeeded time.Time
	// expires is the first expiry date of the resource's vault objects; zero if no object expires.
	expires time.Time
}

// about reports whether the entry belongs to the current uid, spec, labels and annotations of the resource.
func (e entry) about(r *v2beta1.AzureKeyVaultSecret) bool {
	return e.uid == r.UID && e.generation == r.Generation && maps.Equal(e.labels, r.Labels) &&
		maps.Equal(e.annotations, r.Annotations)
}

// memory holds the entries of all resources. It is safe for concurrent use; the zero value is empty.
type memory struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]entry
	// putOff records since when the reads of a resource have been deferred.
	putOff timing.Since
	// uses maps vault objects to the resources that use them, for resources that are in sync.
	uses usage.Index
	// expired is the time of a refresh request that came after the last sync began. That sync may have read the old
	// value, so its schedule must not delay the requested refresh.
	expired map[types.NamespacedName]time.Time
	// claims holds the claims on resources that this process has synced.
	claims map[types.NamespacedName]claim
}

func (m *memory) recall(name types.NamespacedName) (entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[name]
	return e, ok
}

// keep stores an entry and returns it. The stored entry is due at once if a refresh was requested meanwhile.
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

// beginSync marks the start of a sync, which serves all earlier refresh requests.
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

// expire makes the next refresh of a resource due.
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

// putOff reports whether the read was deferred to protect the vault, so that nothing is known about the object, and
// when to retry. Such a sync changes no status (quiet) for up to a minute. After that, or if the resource was not
// synced for two and a half intervals, the deferral is reported like any other failure.
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
	// The vault's pause can be longer than that. The resource is still reconciled in time to report the deferral, which
	// needs no vault call.
	return min(timing.Spread(resource.UID, max(fault.RetryAfter(o.err), time.Second)), max(told.Sub(now), time.Second)),
		true
}

// idle returns the time for which nothing needs to be done: the resource is unchanged, its refresh is not due, and its
// outputs were not modified. Zero means that a sync is needed. Our own writes cause events, which end here.
func (c *Controller) idle(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) (time.Duration, error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.memory.recall(name)
	if !known || !e.about(resource) || !e.due.After(c.Clock()) {
		return 0, nil
	}
	wait := max(e.wake().Sub(c.Clock()), time.Nanosecond) // zero means a sync
	if e.failure != "" && e.failure != fault.Conflict {
		return wait, nil
	}
	for _, m := range e.outputs {
		if m.Version == "" {
			continue // not written because of a conflict, so there is no version to compare
		}
		if untouched, err := c.store.Untouched(ctx, name.Namespace, m); err != nil || !untouched {
			return 0, err
		}
	}
	return wait, nil
}

// stands reports whether an output is known to match the desired state without reading its data: it was in sync after
// the last sync, the resource and the data are the same, nobody has written to it since, and no other resource has
// fields in it.
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

// plan stores the outcome and schedules the next reconcile.
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
		// Consecutive failures of different kinds count together. With separate counts, alternating failures would be
		// retried every second forever, with an event and a status write each time.
		if before.failure != "" && before.about(resource) {
			e.failures = before.failures + 1
		}
		e.due = c.Clock().Add(c.retryIn(resource.UID, o, e.failures))
		// Logged only here, where the handling of the error ends.
		logger.Info("sync failed", "reason", o.kind().Reason(), "error", o.err.Error(), "retryAt",
			e.due.UTC().Format(time.RFC3339))
	}
	e = c.memory.keep(name, e)
	return later(e.wake().Sub(c.Clock())), nil
}

// routine is the priority of scheduled refreshes. It is below the priority of first syncs, which have the lowest
// priority of controller-runtime, and below that of changes.
const routine = 2 * handler.LowPriority

// later requeues the resource after a time; at once if that time has passed, because controller-runtime takes zero and
// negative values for never. A change of the resource is reconciled earlier, with its own priority.
func later(wait time.Duration) ctrl.Result {
	priority := routine
	return ctrl.Result{RequeueAfter: max(wait, time.Nanosecond), Priority: &priority}
}

// wake returns the time of the next action: a refresh or a restart.
func (e entry) wake() time.Time {
	if !e.pending.due.IsZero() && e.pending.due.Before(e.due) {
		return e.pending.due
	}
	return e.due
}

// remembered returns the outputs without their data: no secret data stays in memory after a sync.
func remembered(outputs []store.Made) []store.Made {
	kept := slices.Clone(outputs)
	for i, m := range kept {
		kept[i].Desired = output.Desired{Kind: m.Desired.Kind, Name: m.Desired.Name}
	}
	return kept
}

// due returns the time of the next refresh of a resource that is in sync. A resource that is read only once is
// reconciled again in time to report that its object expires.
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

// never is the delay for a resource that can only succeed after somebody changes it; the change triggers a sync.
const never = 10 * 365 * 24 * time.Hour

// retryIn returns the delay before the retry, by kind of failure.
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
