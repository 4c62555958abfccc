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
	"github.com/akv2k8s/akv2k8s/src/controller/objectindex"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// resourceState is what the controller remembers of a resource between two syncs. It can be lost: without it, the
// resource is refreshed once more.
type resourceState struct {
	uid                 types.UID
	generation          int64
	labels, annotations map[string]string
	outputs             []store.Result
	refreshAt           time.Time
	failureCount        int
	failureKind         fault.Kind
	// pendingRestart is the restart of workloads that waits for its time.
	pendingRestart pendingRestart
	// succeededAt is the end of the last successful sync; zero if there was none.
	succeededAt time.Time
	// expiresAt is the first expiry date of the resource's vault objects; zero if no object expires.
	expiresAt time.Time
}

// isCurrentFor reports whether the entry belongs to the current uid, spec, labels and annotations of the resource.
func (e resourceState) isCurrentFor(r *v2beta1.AzureKeyVaultSecret) bool {
	return e.uid == r.UID && e.generation == r.Generation && maps.Equal(e.labels, r.Labels) &&
		maps.Equal(e.annotations, r.Annotations)
}

// stateStore holds the entries of all resources. It is safe for concurrent use; the zero value is empty.
type stateStore struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]resourceState
	// deferredSince records since when the reads of a resource have been deferred.
	deferredSince schedule.FirstSeen
	// objectIndex maps vault objects to the resources that use them, for resources that are in sync.
	objectIndex objectindex.Index
	// refreshRequestedAt is the time of a refresh request that came after the last sync began. That sync may have read
	// the old value, so its schedule must not delay the requested refresh.
	refreshRequestedAt map[types.NamespacedName]time.Time
	// claims holds the claims on resources that this process has synced.
	claims map[types.NamespacedName]claim
}

func (m *stateStore) get(name types.NamespacedName) (resourceState, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[name]
	return e, ok
}

// put stores an entry and returns it. The stored entry is due at once if a refresh was requested meanwhile.
func (m *stateStore) put(name types.NamespacedName, e resourceState) resourceState {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[types.NamespacedName]resourceState{}
	}
	if at, ok := m.refreshRequestedAt[name]; ok && at.Before(e.refreshAt) {
		e.refreshAt = at
	}
	m.entries[name] = e
	return e
}

// beginSync marks the start of a sync, which serves all earlier refresh requests.
func (m *stateStore) beginSync(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.refreshRequestedAt, name)
}

// forEach calls a function with a copy of every entry.
func (m *stateStore) forEach(do func(name types.NamespacedName, e resourceState)) {
	m.mu.Lock()
	entries := maps.Clone(m.entries)
	m.mu.Unlock()
	for name, e := range entries {
		do(name, e)
	}
}

func (m *stateStore) remove(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, name)
	delete(m.claims, name)
	delete(m.refreshRequestedAt, name)
	m.deferredSince.Clear(name)
	m.objectIndex.SetObjects(name, nil)
}

// requestRefresh makes the next refresh of a resource due.
func (m *stateStore) requestRefresh(name types.NamespacedName, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[name]; ok {
		e.refreshAt = now
		m.entries[name] = e
		if m.refreshRequestedAt == nil {
			m.refreshRequestedAt = map[types.NamespacedName]time.Time{}
		}
		m.refreshRequestedAt[name] = now
	}
}

// isDeferred reports whether the read was deferred to protect the vault, so that nothing is known about the object, and
// when to retry. Such a sync changes no status (quiet) for up to a minute. After that, or if the resource was not
// synced for two and a half intervals, the deferral is reported like any other failure.
func (c *Controller) isDeferred(resource *v2beta1.AzureKeyVaultSecret, o syncResult) (wait time.Duration, quiet bool) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	if !ratelimit.IsDeferred(o.err) {
		c.state.deferredSince.Clear(name)
		return 0, false
	}
	now := c.Clock()
	told := c.state.deferredSince.Record(name, now).Add(limits.DeferralGrace)
	if e, known := c.state.get(name); known && !e.succeededAt.IsZero() && !o.recipe.IsReadOnce() {
		if old := e.succeededAt.Add(5 * o.recipe.RefreshIntervalOr(c.RefreshInterval) / 2); old.Before(told) {
			told = old
		}
	}
	if !now.Before(told) {
		return 0, false
	}
	// The vault's pause can be longer than that. The resource is still reconciled in time to report the deferral, which
	// needs no vault call.
	return min(schedule.AddJitter(resource.UID, max(fault.RetryAfter(o.err), time.Second)),
			max(told.Sub(now), time.Second)),
		true
}

// timeToNextRefresh returns the time for which nothing needs to be done: the resource is unchanged, its refresh is not
// due, and its outputs were not modified. Zero means that a sync is needed. Our own writes cause events, which end
// here.
func (c *Controller) timeToNextRefresh(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) (time.Duration,
	error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.state.get(name)
	if !known || !e.isCurrentFor(resource) || !e.refreshAt.After(c.Clock()) {
		return 0, nil
	}
	wait := max(e.wakeTime().Sub(c.Clock()), time.Nanosecond) // zero means a sync
	if e.failureKind != "" && e.failureKind != fault.Conflict {
		return wait, nil
	}
	for _, m := range e.outputs {
		if m.ResourceVersion == "" {
			continue // not written because of a conflict, so there is no version to compare
		}
		if untouched, err := c.store.IsUnchanged(ctx, name.Namespace, m); err != nil || !untouched {
			return 0, err
		}
	}
	return wait, nil
}

// isUpToDate reports whether an output is known to match the desired state without reading its data: it was in sync
// after the last sync, the resource and the data are the same, nobody has written to it since, and no other resource
// has fields in it.
func (c *Controller) isUpToDate(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, m *store.Result) bool {
	e, known := c.state.get(types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name})
	if !known || !e.isCurrentFor(resource) || e.failureKind != "" {
		return false
	}
	for _, was := range e.outputs {
		same := was.Desired.Kind == m.Desired.Kind && was.Desired.Name == m.Desired.Name && was.Hash == m.Hash
		if !same || !was.SoleOwner || was.ResourceVersion == "" {
			continue
		}
		if untouched, err := c.store.IsUnchanged(ctx, resource.Namespace, was); err != nil || !untouched {
			return false
		}
		m.Existed, m.CreatedAt, m.ResourceVersion, m.SoleOwner, m.Shared = true, was.CreatedAt, was.ResourceVersion,
			true, was.Shared
		return true
	}
	return false
}

// scheduleNext stores the outcome and schedules the next reconcile.
func (c *Controller) scheduleNext(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret,
	o syncResult) (ctrl.Result, error) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	before, known := c.state.get(name)
	e := resourceState{
		uid: resource.UID, generation: resource.Generation, labels: resource.Labels, annotations: resource.Annotations,
		failureKind: o.errorKind(), outputs: withoutData(o.outputs),
	}
	if before.uid == e.uid {
		e.succeededAt, e.expiresAt = before.succeededAt, before.expiresAt
	}
	e.pendingRestart = c.scheduleRestart(before, known, resource, o)
	logger := log.FromContext(ctx)
	if o.errorKind() == fault.Bug {
		c.state.put(name, e)        // due at once
		return ctrl.Result{}, o.err // logged, counted and retried by controller-runtime
	}
	if o.err == nil {
		e.succeededAt, e.expiresAt = c.Clock(), o.outputExpiry(resource)
		e.refreshAt = c.nextRefresh(resource.UID, o.recipe, e.expiresAt)
		c.state.objectIndex.SetObjects(name, objectRefs(o.contents))
		if o.hasChangedData() {
			logger.Info("synced", "result", o.summaryText())
		}
	} else {
		// Consecutive failures of different kinds count together. With separate counts, alternating failures would be
		// retried every second forever, with an event and a status write each time.
		if before.failureKind != "" && before.isCurrentFor(resource) {
			e.failureCount = before.failureCount + 1
		}
		e.refreshAt = c.Clock().Add(c.retryDelay(resource.UID, o, e.failureCount))
		// Logged only here, where the handling of the error ends.
		logger.Info("sync failed", "reason", o.errorKind().Reason(), "error", o.err.Error(), "retryAt",
			e.refreshAt.UTC().Format(time.RFC3339))
	}
	e = c.state.put(name, e)
	return requeueAfter(e.wakeTime().Sub(c.Clock())), nil
}

// refreshPriority is the priority of scheduled refreshes. It is below the priority of first syncs, which have the
// lowest priority of controller-runtime, and below that of changes.
const refreshPriority = 2 * handler.LowPriority

// requeueAfter requeues the resource after a time; at once if that time has passed, because controller-runtime takes
// zero and negative values for never. A change of the resource is reconciled earlier, with its own priority.
func requeueAfter(wait time.Duration) ctrl.Result {
	priority := refreshPriority
	return ctrl.Result{RequeueAfter: max(wait, time.Nanosecond), Priority: &priority}
}

// wakeTime returns the time of the next action: a refresh or a restart.
func (e resourceState) wakeTime() time.Time {
	if !e.pendingRestart.restartAt.IsZero() && e.pendingRestart.restartAt.Before(e.refreshAt) {
		return e.pendingRestart.restartAt
	}
	return e.refreshAt
}

// withoutData returns the outputs without their data: no secret data stays in memory after a sync.
func withoutData(outputs []store.Result) []store.Result {
	kept := slices.Clone(outputs)
	for i, m := range kept {
		kept[i].Desired = output.Desired{Kind: m.Desired.Kind, Name: m.Desired.Name}
	}
	return kept
}

// nextRefresh returns the time of the next refresh of a resource that is in sync. A resource that is read only once is
// reconciled again in time to report that its object expires.
func (c *Controller) nextRefresh(uid types.UID, r recipe.Recipe, expires time.Time) time.Time {
	now := c.Clock()
	if !r.IsReadOnce() {
		return schedule.NextRefresh(uid, r.RefreshIntervalOr(c.RefreshInterval), now)
	}
	if warn := expires.Add(-c.ExpiryWarning); !expires.IsZero() && warn.After(now) {
		return warn
	}
	return now.Add(indefiniteWait)
}

// indefiniteWait is the delay for a resource that can only succeed after somebody changes it; the change triggers a
// sync.
const indefiniteWait = 10 * 365 * 24 * time.Hour

// retryDelay returns the delay before the retry, by kind of failure.
func (c *Controller) retryDelay(uid types.UID, o syncResult, failures int) time.Duration {
	switch o.errorKind() {
	case fault.Invalid:
		return indefiniteWait
	case fault.Malformed, fault.NotFound, fault.Disabled:
		return schedule.NextRefresh(uid, o.recipe.RefreshIntervalOr(c.RefreshInterval), c.Clock()).Sub(c.Clock())
	default:
		return min(limits.TransientRetryTime, schedule.RetryDelay(uid, o.err, failures))
	}
}
