package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/redactederror"
	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Config configures a Restarter. Every field is required unless its comment says otherwise.
type Config struct {
	// APIReader reads workloads, and the sources of their environment, from the API server; they are not cached.
	APIReader client.Reader
	// Writer patches the workloads.
	Writer client.Writer
	// Clock returns the current time.
	Clock func() time.Time
	// MaxConcurrent limits the restarted workloads whose pods are being replaced, at least 1.
	MaxConcurrent int
	// ArgoRollouts restarts Rollouts of Argo too, if the cluster has them.
	ArgoRollouts bool
	// Count counts a result of a restart: one of the constants Result…; it is optional.
	Count func(kind, result string)
}

// The results of restarts, as in the label of the metric.
const (
	ResultRestarted  = "restarted"
	ResultFailed     = "failed"
	ResultSkipped    = "skipped"
	ResultUnfinished = "unfinished"
)

// Restarter restarts workloads. It is safe for concurrent use.
type Restarter struct {
	Config
	slots  *slots
	passes *fairshare.RateLimiter
}

// New returns a Restarter, or an error if the configuration is incomplete or invalid.
func New(c Config) (*Restarter, error) {
	if err := fault.RequireFields("rollout.New", map[string]bool{
		"APIReader": c.APIReader != nil, "Writer": c.Writer != nil, "Clock": c.Clock != nil,
		"MaxConcurrent": c.MaxConcurrent > 0,
	}); err != nil {
		return nil, err
	}
	if c.Count == nil {
		c.Count = func(string, string) {}
	}
	return &Restarter{Config: c, slots: newSlots(c.MaxConcurrent),
		passes: fairshare.NewRateLimiter(limits.RestartPasses, time.Second, c.Clock)}, nil
}

// Change describes changed outputs of a resource, or its changed value if it has no outputs.
type Change struct {
	// Namespace is the namespace of the resource, its outputs and the workloads.
	Namespace string
	// Resource is the name of the AzureKeyVaultSecret, as in references of pods.
	Resource string
	// Outputs holds the names of the resource's outputs by kind.
	Outputs map[output.Kind]string
	// ChangedAt is the time at which their data changed.
	ChangedAt time.Time
	// Targets selects the workloads.
	Targets recipe.Restart
	// Again is true if Restart was called for this change before.
	Again bool
}

// Report is the result of a restart. Each entry of Restarted and Skipped begins with KIND "NAME".
type Report struct {
	Restarted []string
	// Skipped lists workloads that the resource selects but that are not restarted, with the reason.
	Skipped []string
	// Workloads holds each selected workload that exists; those with old data first, then by kind and name.
	Workloads []Workload
	// Unfinished is true if Restart must be called again: a workload waits, or its pods are being replaced.
	Unfinished bool
	// NeedsSlot is true if nothing can be done until HasFreeSlot returns true.
	NeedsSlot bool
	// Postponed is true if no workload was read, because too many calls came at once.
	Postponed bool
}

// Workload is the state of one workload.
type Workload struct {
	Kind, Name string
	// IsCurrent is true if its pods have started after the change, or are being replaced.
	IsCurrent bool
	// Pending says why it was not restarted, or that its pods are being replaced; empty if nothing is pending.
	Pending string
}

// Restart restarts each workload that the change selects, unless it was already restarted after the change. Only
// workloads with the annotation akv2k8s.io/restart: "true" are restarted. A workload waits while it is paused, while
// its last rollout has not finished, and while too many others are being restarted; call Restart again until the report
// is finished. After an error, Restart can be called again too.
func (r *Restarter) Restart(ctx context.Context, c Change) (Report, error) {
	if !r.passes.Allow(c.Namespace) {
		return Report{Unfinished: true, Postponed: true}, nil
	}
	var report Report
	workloads, err := r.selectWorkloads(ctx, c, &report)
	if err != nil {
		return report, err
	}
	// A new process finds the restarts that go on first, so that they count before it begins others.
	slices.SortStableFunc(workloads, func(a, b workload) int {
		return compareFlags(a.hasPodsOlderThan(c.ChangedAt), b.hasPodsOlderThan(c.ChangedAt))
	})
	waitsOnlyForSlots := true
	for _, w := range workloads {
		state, progress, err := r.restartIfPossible(ctx, c, w)
		if err != nil {
			r.Count(w.kind, ResultFailed)
			r.countReport(c, report)
			return report, err
		}
		report.add(c, state, progress)
		waitsOnlyForSlots = waitsOnlyForSlots && (progress == progressNeedsSlot || !progress.isUnfinished())
	}
	report.NeedsSlot = report.Unfinished && waitsOnlyForSlots
	r.countReport(c, report)
	slices.SortStableFunc(report.Workloads, func(a, b Workload) int {
		return cmp.Or(compareFlags(a.IsCurrent, b.IsCurrent), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return report, nil
}

// countReport counts restarts, and what was skipped the first time.
func (r *Restarter) countReport(c Change, report Report) {
	count := func(entries []string, result string) {
		for _, entry := range entries {
			if kind, _, _ := strings.Cut(entry, " "); slices.Contains(recipe.WorkloadKinds(), kind) {
				r.Count(kind, result)
			}
		}
	}
	count(report.Restarted, ResultRestarted)
	if !c.Again {
		count(report.Skipped, ResultSkipped)
	}
}

// compareFlags orders false before true.
func compareFlags(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// HasFreeSlot reports whether a workload of the namespace could be restarted now. It makes no requests.
func (r *Restarter) HasFreeSlot(namespace string) bool { return r.slots.hasFree(namespace, r.Clock()) }

// add adds a workload.
func (r *Report) add(c Change, w Workload, p progress) {
	name := fmt.Sprintf("%s %q", w.Kind, w.Name)
	if p == progressRestarted {
		r.Restarted = append(r.Restarted, name)
	}
	if p == progressNotAllowed && !c.Targets.Auto {
		r.skip(name + " has no annotation " + wire.AnnotationRestart + `: "true"`)
	}
	r.Unfinished = r.Unfinished || p.isUnfinished()
	r.Workloads = append(r.Workloads, w)
}

func (r *Report) skip(entry string) { r.Skipped = append(r.Skipped, entry) }

// progress is how far the restart of one workload is.
type progress int

const (
	progressDone progress = iota
	progressNotAllowed
	progressRestarted
	progressReplacing
	progressWaits
	progressNeedsSlot
)

func (p progress) isUnfinished() bool { return p >= progressRestarted }

// restartIfPossible restarts a workload if it has old pods and nothing speaks against it.
func (r *Restarter) restartIfPossible(ctx context.Context, c Change, w workload) (Workload, progress, error) {
	state, now := Workload{Kind: w.kind, Name: w.GetName()}, r.Clock()
	wait := func(p progress, reason string) (Workload, progress, error) {
		state.Pending = reason
		return state, p, nil
	}
	const replacing = "its pods are being replaced"
	switch {
	case !w.hasPodsOlderThan(c.ChangedAt):
		state.IsCurrent = true
		if !r.isReplacing(w, now) {
			return state, progressDone, nil
		}
		return wait(progressReplacing, replacing)
	case w.GetAnnotations()[wire.AnnotationRestart] != "true":
		return wait(progressNotAllowed, "it has no annotation "+wire.AnnotationRestart+`: "true"`)
	case w.paused:
		return wait(progressWaits, "it is paused")
	case !w.finished && now.Before(c.ChangedAt.Add(limits.UnfinishedRolloutTime)):
		return wait(progressWaits, "its last rollout has not finished")
	case !r.slots.acquire(w.key(), now):
		return wait(progressNeedsSlot, fmt.Sprintf("other restarts have not finished (limit %d)", r.MaxConcurrent))
	}
	if err := r.patchRestartTime(ctx, w); err != nil {
		r.slots.release(w.key())
		return state, progressDone, err
	}
	state.IsCurrent = true
	return wait(progressRestarted, replacing)
}

// isReplacing reports whether a restart by akv2k8s goes on. It keeps the slot meanwhile, also for a restart by an
// earlier process, and releases it afterwards.
func (r *Restarter) isReplacing(w workload, now time.Time) bool {
	if w.ownRestartAt.IsZero() || w.finished {
		r.slots.release(w.key())
		return false
	}
	if now.Before(w.ownRestartAt.Add(limits.UnfinishedRolloutTime)) {
		r.slots.acquire(w.key(), now)
		return true
	}
	if r.slots.release(w.key()) {
		r.Count(w.kind, ResultUnfinished)
	}
	return false
}

func (r *Restarter) patchRestartTime(ctx context.Context, w workload) error {
	patch, err := json.Marshal(w.restartPatch(r.Clock().UTC()))
	if err != nil {
		return err
	}
	err = r.Writer.Patch(ctx, w.Object, client.RawPatch(types.MergePatchType, patch),
		client.FieldOwner(wire.RestartFieldManager))
	if client.IgnoreNotFound(err) != nil {
		return redactederror.Wrap(err, "restarting %s %s/%s", w.kind, w.GetNamespace(), w.GetName())
	}
	return nil
}
