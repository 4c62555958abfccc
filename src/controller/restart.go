package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/state"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// restartsIgnored is the warning if a resource asks for restarts that the installation does not do.
const restartsIgnored = "spec.rolloutRestart is ignored: this installation does not restart workloads; see the chart " +
	"value controller.rolloutRestart.enabled"

// leaderChangeWindow is the maximum age of a change for which a new leader still restarts workloads, because the
// previous leader may have stopped before it restarted them.
const leaderChangeWindow = 5 * time.Minute

// restartRetryDelay is the delay after a failed restart.
const restartRetryDelay = 30 * time.Second

// isRestartDue reports whether the time of a scheduled restart has come.
func (s *resourceSync) isRestartDue() bool {
	at := s.last.Restart.At
	return !at.IsZero() && !at.After(s.Clock())
}

// restartWorkloads restarts the workloads that the last change affects, and remembers that it did. A failed restart is
// retried; it does not fail or delay the sync.
func (s *resourceSync) restartWorkloads(ctx context.Context) {
	change := rollout.Change{Namespace: s.resource.Namespace, Resource: s.resource.Name,
		Outputs: map[output.Kind]string{}, ChangedAt: s.last.Restart.ChangedAt}
	for _, m := range s.last.Outputs {
		change.Outputs[m.Kind] = m.Name
	}
	s.last.Restart = state.Restart{}
	if err := s.resolveRecipe(ctx); err == nil && s.recipe.Restart != nil && s.Restarter != nil {
		change.Targets = *s.recipe.Restart
		report, err := s.Restarter.Restart(ctx, change)
		if err != nil {
			log.FromContext(ctx).Error(err, "restarting workloads failed", logkey.RetryIn, restartRetryDelay.String())
			s.last.Restart = state.Restart{ChangedAt: change.ChangedAt, At: s.Clock().Add(restartRetryDelay)}
		}
		s.recordRestartEvents(report, err)
	}
	s.last = s.state.Put(s.name, s.last)
}

// recordRestartEvents records which workloads were restarted, and why others were not.
func (s *resourceSync) recordRestartEvents(report rollout.Report, err error) {
	if len(report.Restarted) > 0 {
		s.recordEvent(corev1.EventTypeNormal, eventRestarted, "restarted "+strings.Join(report.Restarted, ", "))
	}
	if err != nil {
		s.recordEvent(corev1.EventTypeWarning, eventRestartRefused,
			"restarting workloads failed and will be retried; see the log of the controller for the cause")
	} else if len(report.Skipped) > 0 {
		s.recordEvent(corev1.EventTypeWarning, eventRestartRefused,
			"not restarted: "+strings.Join(report.Skipped, ", "))
	}
}

// nextRestart returns the scheduled restart after a sync. The first of several changes sets its time; otherwise a value
// that changes constantly would postpone the restart forever. Data in a new output does not cause a restart, because no
// workload has old data. Reverting a hand-made edit does not cause one either.
func (s *resourceSync) nextRestart() state.Restart {
	if s.Restarter == nil || s.recipe.Restart == nil {
		return state.Restart{}
	}
	next, now, hashes := s.last.Restart, s.Clock(), s.reportedHashes()
	changed := func(m store.Result) bool {
		return m.Written && m.Changed && m.Existed && m.Hash != hashes[m.Desired.Kind]
	}
	if slices.ContainsFunc(s.outputs, changed) {
		next.ChangedAt = now
		if next.At.IsZero() {
			next.At = now.Add(s.RestartDelay)
		}
	}
	if !s.last.Synced && next.At.IsZero() {
		return s.unfinishedRestart()
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

// unfinishedRestart returns the restart that a previous leader may not have done: for a recent change of an output that
// existed before the change.
func (s *resourceSync) unfinishedRestart() state.Restart {
	last, now := s.resource.Status.LastAzureUpdate, s.Clock()
	if last == nil || now.Sub(last.Time) > s.RestartDelay+leaderChangeWindow {
		return state.Restart{}
	}
	older := func(m store.Result) bool { return m.Existed && m.CreatedAt.Before(last.Add(-2*time.Second)) }
	if !slices.ContainsFunc(s.outputs, older) {
		return state.Restart{}
	}
	return state.Restart{ChangedAt: last.Time, At: now.Add(s.RestartDelay)}
}
