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

// restartsIgnored tells why nothing happens.
const restartsIgnored = "spec.rolloutRestart is ignored: this installation restarts no workloads; see the value " +
	"controller.rolloutRestart.enabled"

// catchUp is how far back a controller that has just begun looks for a change after which its predecessor may have had
// no time to restart workloads.
const catchUp = 5 * time.Minute

// restartRetry is the wait after a restart that failed.
const restartRetry = 30 * time.Second

// pending is a change after which workloads are to be restarted; the zero pending is none.
type pending struct {
	// changed is when the data changed, due when the workloads are restarted.
	changed, due time.Time
}

// reportedHashes are the hashes of the outputs before the sync: those of the status, or of memory while the key of the
// status is missing.
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

// pend says what is pending after a sync. The first change of a batch sets the time: a value that changes all the time
// must not put the restart off for ever. That data came into an output that did not exist is no change, since nobody
// has old data, and neither is the repair of an edit by hand.
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

// inherited is what another leader may have left undone: a change a moment ago, of an output that was there before.
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

// restart restarts workloads if it is time. A failure is tried again; it is not the sync's, and does not keep it back.
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

// roll gives what is still pending.
func (c *Controller) roll(ctx context.Context, resource *v2beta1.AzureKeyVaultSecret, change rollout.Change) pending {
	report, err := c.Restarts.Restart(ctx, change)
	if len(report.Restarted) > 0 {
		c.tell(resource, corev1.EventTypeNormal, eventRestarted, "restarted "+strings.Join(report.Restarted, ", "))
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "restarting workloads failed", "retryIn", restartRetry.String())
		c.tell(resource, corev1.EventTypeWarning, eventRestartRefused,
			"restarting workloads failed; it is tried again, and the controller's log says why")
		return pending{changed: change.At, due: c.Clock().Add(restartRetry)}
	}
	if len(report.Refused) > 0 {
		c.tell(resource, corev1.EventTypeWarning, eventRestartRefused,
			"not restarted: "+strings.Join(report.Refused, ", "))
	}
	return pending{}
}
