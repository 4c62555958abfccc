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

// catchUp is the maximum age of a change for which a new leader still restarts workloads, because the previous leader
// may have stopped before it restarted them.
const catchUp = 5 * time.Minute

// restartRetry is the delay after a failed restart.
const restartRetry = 30 * time.Second

// pending is a scheduled restart of workloads; zero means none.
type pending struct {
	// changed is the time of the last change of the data.
	changed time.Time
	// due is the time of the restart.
	due time.Time
}

// reportedHashes returns the hashes of the outputs before the sync: those of the status, or of the last sync while the
// key for status hashes is unavailable.
func reportedHashes(before entry, resource *v2beta1.AzureKeyVaultSecret) map[output.Kind]string {
	reported := map[output.Kind]string{output.Secret: resource.Status.SecretHash,
		output.ConfigMap: resource.Status.ConfigMapHash}
	for _, m := range before.outputs {
		if reported[m.Desired.Kind] == "" && before.failure == "" {
			reported[m.Desired.Kind] = m.Hash
		}
	}
	return reported
}

// pend returns the scheduled restart after a sync. The first of several changes sets its time; otherwise a value that
// changes constantly would postpone the restart forever. Data in a new output does not cause a restart, because no
// workload has old data. Reverting a hand-made edit does not cause one either.
func (c *Controller) pend(before entry, known bool, resource *v2beta1.AzureKeyVaultSecret, o outcome) pending {
	p, now := before.pending, c.Clock()
	if c.Restarts == nil || o.recipe.Restart == nil {
		return pending{}
	}
	told := reportedHashes(before, resource)
	changed := func(m store.Made) bool { return m.Written && m.Changed && m.Existed && m.Hash != told[m.Desired.Kind] }
	if slices.ContainsFunc(o.outputs, changed) {
		p.changed = now
		if p.due.IsZero() {
			p.due = now.Add(c.RestartWindow)
		}
	}
	if !known && p.due.IsZero() {
		return c.inherited(resource, o)
	}
	return p
}

// inherited returns the restart that a previous leader may not have done: for a recent change of an output that existed
// before the change.
func (c *Controller) inherited(resource *v2beta1.AzureKeyVaultSecret, o outcome) pending {
	last, now := resource.Status.LastAzureUpdate, c.Clock()
	if last == nil || now.Sub(last.Time) > c.RestartWindow+catchUp {
		return pending{}
	}
	older := func(m store.Made) bool { return m.Existed && m.Since.Before(last.Add(-2*time.Second)) }
	if !slices.ContainsFunc(o.outputs, older) {
		return pending{}
	}
	return pending{changed: last.Time, due: now.Add(c.RestartWindow)}
}

// restart restarts workloads if a restart is due. A failed restart is retried; it does not fail or delay the sync.
func (c *Controller) restart(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret) {
	name := types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name}
	e, known := c.memory.recall(name)
	if !known || e.pending.due.IsZero() || e.pending.due.After(c.Clock()) {
		return
	}
	change := rollout.Change{Namespace: resource.Namespace, Resource: resource.Name, Outputs: map[output.Kind]string{},
		At: e.pending.changed}
	for _, m := range e.outputs {
		change.Outputs[m.Desired.Kind] = m.Desired.Name
	}
	e.pending = pending{}
	r, err := resolve(resource)
	if err == nil && r.Restart != nil && c.Restarts != nil {
		change.Wanted = *r.Restart
		e.pending = c.roll(ctx, resource, change)
	}
	c.memory.keep(name, e)
}

// roll restarts the workloads and returns the restart that is still to be done; zero if there is none.
func (c *Controller) roll(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, change rollout.Change) pending {
	report, err := c.Restarts.Restart(ctx, change)
	if len(report.Restarted) > 0 {
		c.tell(resource, corev1.EventTypeNormal, eventRestarted, "restarted "+strings.Join(report.Restarted, ", "))
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "restarting workloads failed", "retryIn", restartRetry.String())
		c.tell(resource, corev1.EventTypeWarning, eventRestartRefused,
			"restarting workloads failed and will be retried; see the log of the controller for the cause")
		return pending{changed: change.At, due: c.Clock().Add(restartRetry)}
	}
	if len(report.Refused) > 0 {
		c.tell(resource, corev1.EventTypeWarning, eventRestartRefused,
			"not restarted: "+strings.Join(report.Refused, ", "))
	}
	return pending{}
}
