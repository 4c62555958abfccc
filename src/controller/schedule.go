package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// waitForSync returns when to reconcile again if no sync is needed now; nil if it is needed. A new request for a
// refresh does not wait for the time of the next refresh or retry.
func (s *resourceSync) waitForSync(ctx context.Context) (*ctrl.Result, error) {
	if wait, isNew := s.timeToRequestedRefresh(); isNew {
		if wait <= 0 {
			return nil, nil
		}
		later := requeueWithPriority(wait, handler.LowPriority)
		return &later, nil
	}
	wait, err := s.timeToNextRefresh(ctx)
	if err != nil || wait <= 0 {
		return nil, err
	}
	later := requeueAfter(wait)
	return &later, nil
}

// timeToNextRefresh returns the time for which nothing needs to be done: the resource is unchanged, its refresh is not
// due, and its outputs were not modified. Zero means that a sync is needed. Our own writes cause events, which end
// here.
func (s *resourceSync) timeToNextRefresh(ctx context.Context) (time.Duration, error) {
	if wait := s.timeToFirstRead(); wait > 0 {
		return wait, nil
	}
	if !s.last.IsCurrentFor(s.resource) || !s.last.RefreshAt.After(s.Clock()) {
		return 0, nil
	}
	wait := max(s.last.WakeTime().Sub(s.Clock()), time.Nanosecond) // zero means a sync
	if s.last.FailureKind != "" && s.last.FailureKind != fault.Conflict {
		return wait, nil
	}
	for _, m := range s.last.Outputs {
		if m.ResourceVersion == "" {
			continue // not written because of a conflict, so there is no version to compare
		}
		name := types.NamespacedName{Namespace: s.name.Namespace, Name: m.Name}
		if unchanged, err := s.store.IsUnchanged(ctx, m.Kind, name, m.ResourceVersion); err != nil || !unchanged {
			return 0, err
		}
	}
	return wait, nil
}

// newResourceTime is the age up to which a resource is new: its owner waits for its state.
const newResourceTime = time.Minute

// timeToFirstRead returns how long the first read, by this process, of a resource that only pods use must wait. These
// reads are spread over a time, because there can be thousands after a start. A new or edited resource is read at once,
// and so is one with an unfinished restart or a requested refresh.
func (s *resourceSync) timeToFirstRead() time.Duration {
	status := s.resource.Status
	isEdited := status.ObservedGeneration != 0 && status.ObservedGeneration != s.resource.Generation
	if !s.isForPodsOnly() || s.last.Synced || isEdited || s.request != "" || status.PendingRestart != nil ||
		s.Clock().Sub(s.resource.CreationTimestamp.Time) < newResourceTime {
		return 0
	}
	if s.last.Watch.FirstReadAt.IsZero() {
		s.last.Watch.FirstReadAt = schedule.NextRefresh(s.resource.UID, limits.FirstReadTime, s.Clock())
		s.last = s.state.Put(s.name, s.last)
	}
	return s.last.Watch.FirstReadAt.Sub(s.Clock())
}

// isDeferred reports whether the read was deferred to protect the vault, so that nothing is known about the object, and
// when to retry. Such a sync changes no status (quiet) for up to a minute. After that, or if the resource was not
// synced for two and a half intervals, the deferral is reported like any other failure.
func (s *resourceSync) isDeferred() (wait time.Duration, quiet bool) {
	now, since := s.Clock(), s.last.DeferredSince
	deferred := ratelimit.IsDeferred(s.err)
	if deferred == since.IsZero() { // a deferral begins or ends
		since = time.Time{}
		if deferred {
			since = now
		}
		s.last.DeferredSince = since
		s.last = s.state.Put(s.name, s.last)
	}
	if !deferred {
		return 0, false
	}
	reportAt := since.Add(limits.DeferralGrace)
	if !s.last.SucceededAt.IsZero() && !s.recipe.IsReadOnce() {
		if old := s.last.SucceededAt.Add(5 * s.recipe.RefreshIntervalOr(s.RefreshInterval) / 2); old.Before(reportAt) {
			reportAt = old
		}
	}
	if !now.Before(reportAt) {
		return 0, false
	}
	// The vault's pause can be longer than that. The resource is still reconciled in time to report the deferral, which
	// needs no vault call.
	return min(schedule.AddJitter(s.resource.UID, max(fault.RetryAfter(s.err), time.Second)),
		max(reportAt.Sub(now), time.Second)), true
}

// scheduleNext remembers the sync and schedules the next reconcile.
func (s *resourceSync) scheduleNext(ctx context.Context) (ctrl.Result, error) {
	next := s.last
	next.Synced, next.UID, next.Generation = true, s.resource.UID, s.resource.Generation
	next.Labels, next.Annotations = s.resource.Labels, state.AnnotationsOf(s.resource)
	next.Outputs, next.Restart = s.outputsWithoutData(), s.restart
	next.Refresh.Done = s.answeredRequest()
	next.RefreshAt, next.FailureKind, next.FailureCount = time.Time{}, fault.KindOf(s.err), 0
	if next.UID != s.last.UID {
		next.SucceededAt, next.ExpiresAt, next.Watch.ValueHash = time.Time{}, time.Time{}, ""
	}
	if s.valueHash != "" && s.err == nil || !s.isForPodsOnly() {
		next.Watch.ValueHash = s.valueHash
	}
	logger := log.FromContext(ctx)
	switch {
	case next.FailureKind == fault.Bug:
		s.state.Put(s.name, next)   // due at once
		return ctrl.Result{}, s.err // logged, counted and retried by controller-runtime
	case s.err == nil:
		next.SucceededAt, next.ExpiresAt, next.Objects = s.Clock(), s.firstExpiry(), s.objectRefs()
		next.RefreshAt = s.nextRefresh(next.ExpiresAt)
		if s.hasChangedData() {
			logger.Info("synced", logkey.Result, s.summaryText())
		}
	default:
		// Consecutive failures of different kinds count together. With separate counts, alternating failures would be
		// retried every second forever, with an event and a status write each time.
		if s.last.FailureKind != "" && s.last.IsCurrentFor(s.resource) {
			next.FailureCount = s.last.FailureCount + 1
		}
		next.RefreshAt = s.Clock().Add(s.retryDelay(next.FailureCount))
		// Logged only here, where the handling of the error ends.
		logger.Info("sync failed", logkey.Reason, next.FailureKind.Reason(), logkey.Error, s.err.Error(),
			logkey.RetryAt, next.RefreshAt.UTC().Format(time.RFC3339))
	}
	next = s.state.Put(s.name, next)
	return requeueAfter(next.WakeTime().Sub(s.Clock())), nil
}

// refreshPriority is the priority of scheduled refreshes. It is below the priority of first syncs, which have the
// lowest priority of controller-runtime, and below that of changes.
const refreshPriority = 2 * handler.LowPriority

// requeueAfter requeues the resource after a time; at once if that time has passed, because controller-runtime takes
// zero and negative values for never. A change of the resource is reconciled earlier, with its own priority.
func requeueAfter(wait time.Duration) ctrl.Result { return requeueWithPriority(wait, refreshPriority) }

func requeueWithPriority(wait time.Duration, priority int) ctrl.Result {
	return ctrl.Result{RequeueAfter: max(wait, time.Nanosecond), Priority: &priority}
}

// outputsWithoutData returns what is remembered of the outputs.
func (s *resourceSync) outputsWithoutData() []state.Output {
	kept := make([]state.Output, 0, len(s.outputs))
	for _, m := range s.outputs {
		kept = append(kept, state.Output{Kind: m.Desired.Kind, Name: m.Desired.Name, Hash: m.Hash,
			ResourceVersion: m.ResourceVersion, CreatedAt: m.CreatedAt, SoleOwner: m.SoleOwner, Shared: m.Shared})
	}
	return kept
}

// nextRefresh returns the time of the next refresh of a resource that is in sync. A resource that is read only once is
// reconciled again in time to report that its object expires.
func (s *resourceSync) nextRefresh(expires time.Time) time.Time {
	now := s.Clock()
	if !s.recipe.IsReadOnce() {
		return schedule.NextRefresh(s.resource.UID, s.recipe.RefreshIntervalOr(s.RefreshInterval), now)
	}
	if warn := expires.Add(-s.ExpiryWarning); !expires.IsZero() && warn.After(now) {
		return warn
	}
	return now.Add(indefiniteWait)
}

// indefiniteWait is the delay for a resource that can only succeed after somebody changes it; the change triggers a
// sync.
const indefiniteWait = 10 * 365 * 24 * time.Hour

// retryDelay returns the delay before the retry, by kind of failure.
func (s *resourceSync) retryDelay(failures int) time.Duration {
	switch fault.KindOf(s.err) {
	case fault.Invalid:
		return indefiniteWait
	case fault.Malformed, fault.NotFound, fault.Disabled:
		return schedule.NextRefresh(s.resource.UID, s.recipe.RefreshIntervalOr(s.RefreshInterval), s.Clock()).
			Sub(s.Clock())
	default:
		return min(limits.TransientRetryTime, schedule.RetryDelay(s.resource.UID, s.err, failures))
	}
}
