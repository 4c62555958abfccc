package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
)

// restartsIgnored is the warning if a resource asks for restarts that the installation does not do.
const restartsIgnored = "spec.rolloutRestart is ignored: this installation does not restart workloads; see the chart " +
	"value controller.rolloutRestart.enabled"

// leaderChangeWindow is the maximum age of a change for which a new leader still restarts workloads, because the
// previous leader may have stopped before it restarted them.
const leaderChangeWindow = 5 * time.Minute

// restartRetryDelay is the delay after a failed restart.
const restartRetryDelay = 30 * time.Second

// pendingRestart is a scheduled restart of workloads; zero means none.
type pendingRestart struct {
	// changedAt is the time of the last change of the data.
	changedAt time.Time
	// restartAt is the time of the restart.
	restartAt time.Time
}

// reportedHashes returns the hashes of the outputs before the sync: those of the status, or of the last sync while the
// key for status hashes is unavailable.
func reportedHashes(before resourceState, resource *v2beta1.AzureKeyVaultSecret) map[output.Kind]string {
	reported := map[output.Kind]string{}
	for _, kind := range output.Kinds() {
		reported[kind] = *kind.StatusFields(&resource.Status).Hash
	}
	for _, m := range before.outputs {
		if reported[m.Desired.Kind] == "" && before.failureKind == "" {
			reported[m.Desired.Kind] = m.Hash
		}
	}
	return reported
}

// scheduleRestart returns the scheduled restart after a sync. The first of several changes sets its time; otherwise a
// value that changes constantly would postpone the restart forever. Data in a new output does not cause a restart,
// because no workload has old data. Reverting a hand-made edit does not cause one either.
func (c *Controller) scheduleRestart(before resourceState, known bool, resource *v2beta1.AzureKeyVaultSecret,
	o syncResult) pendingRestart {
	p, now := before.pendingRestart, c.Clock()
	if c.Restarter == nil || o.recipe.Restart == nil {
		return pendingRestart{}
	}
	told := reportedHashes(before, resource)
	changed := func(m store.Result) bool {
		return m.Written && m.Changed && m.Existed && m.Hash != told[m.Desired.Kind]
	}
	if slices.ContainsFunc(o.outputs, changed) {
		p.changedAt = now
		if p.restartAt.IsZero() {
			p.restartAt = now.Add(c.RestartDelay)
		}
	}
	if !known && p.restartAt.IsZero() {
		return c.unfinishedRestart(resource, o)
	}
	return p
}

// unfinishedRestart returns the restart that a previous leader may not have done: for a recent change of an output that
// existed before the change.
func (c *Controller) unfinishedRestart(resource *v2beta1.AzureKeyVaultSecret, o syncResult) pendingRestart {
	last, now := resource.Status.LastAzureUpdate, c.Clock()
	if last == nil || now.Sub(last.Time) > c.RestartDelay+leaderChangeWindow {
		return pendingRestart{}
	}
	older := func(m store.Result) bool { return m.Existed && m.CreatedAt.Before(last.Add(-2*time.Second)) }
	if !slices.ContainsFunc(o.outputs, older) {
		return pendingRestart{}
	}
	return pendingRestart{changedAt: last.Time, restartAt: now.Add(c.RestartDelay)}
}

// restartIfDue restarts workloads if a restart is due. A failed restart is retried; it does not fail or delay the sync.
func (c *Controller) restartIfDue(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.state.get(name)
	if !known || e.pendingRestart.restartAt.IsZero() || e.pendingRestart.restartAt.After(c.Clock()) {
		return
	}
	change := rollout.Change{Namespace: resource.Namespace, Resource: resource.Name, Outputs: map[output.Kind]string{},
		ChangedAt: e.pendingRestart.changedAt}
	for _, m := range e.outputs {
		change.Outputs[m.Desired.Kind] = m.Desired.Name
	}
	e.pendingRestart = pendingRestart{}
	r, err := resolveRecipe(resource)
	if err == nil && r.Restart != nil && c.Restarter != nil {
		change.Targets = *r.Restart
		e.pendingRestart = c.restartWorkloads(ctx, resource, change)
	}
	c.state.put(name, e)
}

// restartWorkloads restarts the workloads and returns the restart that is still to be done; zero if there is none.
func (c *Controller) restartWorkloads(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret,
	change rollout.Change) pendingRestart {
	report, err := c.Restarter.Restart(ctx, change)
	if len(report.Restarted) > 0 {
		c.recordEvent(resource, corev1.EventTypeNormal, eventRestarted,
			"restarted "+strings.Join(report.Restarted, ", "))
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "restarting workloads failed", "retryIn", restartRetryDelay.String())
		c.recordEvent(resource, corev1.EventTypeWarning, eventRestartRefused,
			"restarting workloads failed and will be retried; see the log of the controller for the cause")
		return pendingRestart{changedAt: change.ChangedAt, restartAt: c.Clock().Add(restartRetryDelay)}
	}
	if len(report.Skipped) > 0 {
		c.recordEvent(resource, corev1.EventTypeWarning, eventRestartRefused,
			"not restarted: "+strings.Join(report.Skipped, ", "))
	}
	return pendingRestart{}
}
