package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/schedule"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// restartsIgnored is the warning if a resource asks for restarts that the installation does not do.
const restartsIgnored = "spec.rolloutRestart is ignored: this installation does not restart workloads; see the chart " +
	"value controller.rolloutRestart.enabled"

// restartRetryDelay is the delay after a failed restart.
const restartRetryDelay = 30 * time.Second

// minRestartDelay is the least time between a sync and the restart, in which the cache gets the status of the sync.
const minRestartDelay = time.Second

// The delays between two attempts while a workload waits or its pods are being replaced. They double.
const (
	minRestartWait = 10 * time.Second
	maxRestartWait = time.Minute
)

// isRestartDue reports whether the time of a scheduled restart has come.
func (s *resourceSync) isRestartDue() bool {
	at := s.last.Restart.At
	return !at.IsZero() && !at.After(s.Clock())
}

// restartWorkloads restarts the workloads that the last change affects, and remembers whether it is done. A failed
// restart is retried, and one that has to wait is continued; it does not fail or delay the sync.
func (s *resourceSync) restartWorkloads(ctx context.Context) {
	due := s.last.Restart
	s.last.Restart = state.Restart{}
	if err := s.resolveRecipe(ctx); err == nil && s.recipe.Restart != nil && s.Restarter != nil {
		s.last.Restart = s.continueRestart(ctx, due)
	}
	s.last = s.state.Put(s.name, s.last)
}

// continueRestart makes one attempt and returns the next one; zero if the restart is done.
func (s *resourceSync) continueRestart(ctx context.Context, due state.Restart) state.Restart {
	next := due
	if due.NeedsSlot && !s.Restarter.HasFreeSlot(s.resource.Namespace) {
		next.At = s.Clock().Add(schedule.AddJitter(s.resource.UID, minRestartWait))
		return next
	}
	change := rollout.Change{Namespace: s.resource.Namespace, Resource: s.resource.Name,
		Outputs: map[output.Kind]string{}, ChangedAt: due.ChangedAt, Targets: *s.recipe.Restart,
		Again: due.Attempts > 0}
	for _, m := range s.last.Outputs {
		change.Outputs[m.Kind] = m.Name
	}
	report, err := s.Restarter.Restart(ctx, change)
	switch {
	case err != nil:
		log.FromContext(ctx).Error(err, "restarting workloads failed", logkey.RetryIn, restartRetryDelay.String())
		next.At = s.Clock().Add(restartRetryDelay)
	case report.Postponed:
		next.At = s.Clock().Add(schedule.AddJitter(s.resource.UID, time.Second))
		return next
	case report.Unfinished:
		wait := min(minRestartWait<<min(due.Attempts, 3), maxRestartWait)
		next.At = s.Clock().Add(schedule.AddJitter(s.resource.UID, wait))
	default:
		next = state.Restart{}
	}
	s.recordRestartEvents(report, err, due.Attempts > 0)
	if err != nil {
		return next
	}
	if report.Unfinished {
		next.Attempts, next.NeedsSlot = due.Attempts+1, report.NeedsSlot
	}
	s.reportWorkloads(ctx, report, next)
	return next
}

// recordRestartEvents records which workloads were restarted, and why others were not. The reasons are recorded with
// the first attempt.
func (s *resourceSync) recordRestartEvents(report rollout.Report, err error, again bool) {
	if len(report.Restarted) > 0 {
		s.recordEvent(corev1.EventTypeNormal, eventRestarted, "restarted "+strings.Join(report.Restarted, ", "))
	}
	if err != nil {
		s.recordEvent(corev1.EventTypeWarning, eventRestartRefused,
			"restarting workloads failed and will be retried; see the log of the controller for the cause")
	} else if len(report.Skipped) > 0 && !again {
		s.recordEvent(corev1.EventTypeWarning, eventRestartRefused,
			"not restarted: "+strings.Join(report.Skipped, ", "))
	}
}

// reportWorkloads writes into the status which data the workloads have, and whether restarts are pending. A failed
// write is not retried before the next attempt or sync: it delays no restart.
func (s *resourceSync) reportWorkloads(ctx context.Context, report rollout.Report, next state.Restart) {
	updated := s.resource.DeepCopy()
	status := &updated.Status
	setPendingRestart(status, next)
	status.Workloads, status.MoreWorkloads = s.workloadStatuses(report.Workloads)
	if equality.Semantic.DeepEqual(s.resource.Status, *status) {
		return
	}
	defer s.acquireWriteSlot()()
	if err := s.Client.Status().Patch(ctx, updated, client.MergeFrom(s.resource)); err != nil {
		if client.IgnoreNotFound(err) != nil {
			log.FromContext(ctx).Error(err, "writing status.workloads failed")
		}
		return
	}
	s.resource.Status = *status // later steps compare with what was written
}

// workloadStatuses returns the state of the first workloads, and the number of the others. A workload that was not
// restarted keeps its version.
func (s *resourceSync) workloadStatuses(workloads []rollout.Workload) ([]v2beta1.AzureKeyVaultWorkloadStatus, int32) {
	was := map[[2]string]string{}
	for _, w := range s.resource.Status.Workloads {
		was[[2]string{w.Kind, w.Name}] = w.Version
	}
	previous := ""
	if pending := s.resource.Status.PendingRestart; pending != nil {
		previous = pending.PreviousVersion
	}
	var all []v2beta1.AzureKeyVaultWorkloadStatus
	for _, w := range workloads[:min(len(workloads), limits.WorkloadStatuses)] {
		version, ok := was[[2]string{w.Kind, w.Name}]
		if w.IsCurrent {
			version = versionInStatus(&s.resource.Status)
		} else if !ok {
			version = previous
		}
		all = append(all, v2beta1.AzureKeyVaultWorkloadStatus{Kind: w.Kind, Name: w.Name, Version: version,
			Pending: w.Pending})
	}
	return all, int32(max(0, len(workloads)-limits.WorkloadStatuses))
}

// shortHashLength is the length of the beginning of a hash that stands for a version.
const shortHashLength = 16

// versionInStatus returns what stands for the data of the resource: the version of its vault object, or the beginning
// of the hash of several objects; empty if there is none.
func versionInStatus(status *v2beta1.AzureKeyVaultSecretStatus) string {
	if status.VaultVersion != "" {
		return status.VaultVersion
	}
	hash := status.ValueHash
	for _, kind := range output.Kinds() {
		if of := *kind.StatusFields(status).Hash; hash == "" {
			hash = of
		}
	}
	return hash[:min(shortHashLength, len(hash))]
}

// setPendingRestart describes the scheduled restart in the status, so that a later process continues it. The time has
// seconds only, and is rounded up, because pods that started before the change have old data. No workload is restarted
// within minRestartDelay, so the rounded time is before each restart.
func setPendingRestart(status *v2beta1.AzureKeyVaultSecretStatus, next state.Restart) {
	status.PendingRestart = nil
	if !next.At.IsZero() {
		whole := next.ChangedAt.Add(time.Second - 1).Truncate(time.Second)
		status.PendingRestart = &v2beta1.AzureKeyVaultPendingRestart{
			ChangedAt: metav1.NewTime(whole), PreviousVersion: next.PreviousVersion}
	}
}

// nextRestart returns the scheduled restart after a sync. The first of several changes sets its time; otherwise a value
// that changes constantly would postpone the restart forever. Data in a new output, or the first value, does not cause
// a restart, because no workload has old data. Reverting a hand-made edit does not cause one either.
func (s *resourceSync) nextRestart() state.Restart {
	if s.Restarter == nil || s.recipe.Restart == nil {
		return state.Restart{}
	}
	next, now, hashes := s.last.Restart, s.Clock(), s.reportedHashes()
	if !s.last.Synced && next.At.IsZero() {
		next = s.unfinishedRestart()
	}
	changed := func(m store.Result) bool {
		return m.Written && m.Changed && m.Existed && m.Hash != hashes[m.Desired.Kind]
	}
	hasNewValue := s.err == nil && s.hasChangedValue()
	if !hasNewValue && !slices.ContainsFunc(s.outputs, changed) {
		return next
	}
	next.ChangedAt, next.Attempts, next.NeedsSlot = now, 0, false
	if next.At.IsZero() {
		next.At = now.Add(max(s.RestartDelay, minRestartDelay))
		next.PreviousVersion = versionInStatus(&s.resource.Status)
	}
	return next
}

// reportedHashes returns the hashes of the outputs before the sync: those of the status, or of the last sync while the
// key for status hashes is unavailable.
func (s *resourceSync) reportedHashes() map[output.Kind]string {
	reported := map[output.Kind]string{}
	for _, kind := range output.Kinds() {
		reported[kind] = *kind.StatusFields(&s.resource.Status).Hash
	}
	for _, m := range s.last.Outputs {
		if reported[m.Kind] == "" && s.last.FailureKind == "" {
			reported[m.Kind] = m.Hash
		}
	}
	return reported
}

// unfinishedRestart returns the restart that a previous leader has not finished: for an output that existed before the
// change, or for a value that only pods use. A time in the future, which that
// leader's clock or somebody else wrote, must not restart workloads again and again.
func (s *resourceSync) unfinishedRestart() state.Restart {
	pending, now := s.resource.Status.PendingRestart, s.Clock()
	if pending == nil {
		return state.Restart{}
	}
	changedAt := pending.ChangedAt.Time
	if changedAt.After(now) {
		changedAt = now
	}
	older := func(m store.Result) bool { return m.Existed && m.CreatedAt.Before(changedAt.Add(-2*time.Second)) }
	if !s.isForPodsOnly() && s.err == nil && !slices.ContainsFunc(s.outputs, older) {
		return state.Restart{}
	}
	return state.Restart{ChangedAt: changedAt, At: now.Add(s.RestartDelay),
		PreviousVersion: truncateText(pending.PreviousVersion, limits.RefreshRequestBytes)}
}

// fillPendingRestart describes the scheduled restart. If the resource asks for none, nothing is shown of workloads.
func (s *resourceSync) fillPendingRestart(status *v2beta1.AzureKeyVaultSecretStatus) {
	setPendingRestart(status, s.restart)
	if s.err == nil && (s.Restarter == nil || s.recipe.Restart == nil) {
		status.Workloads, status.MoreWorkloads = nil, 0
	}
}
