package controller_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/rollout"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// restarts records requested restarts.
type restarts struct {
	changes []rollout.Change
	report  rollout.Report
	next    error
	// meanwhile is called during each; nil does nothing.
	meanwhile func()
	// full is true while no slot is free.
	full bool
}

func (r *restarts) HasFreeSlot(string) bool { return !r.full }

func (r *restarts) Restart(_ context.Context, c rollout.Change) (rollout.Report, error) {
	r.changes = append(r.changes, c)
	if r.meanwhile != nil {
		r.meanwhile()
	}
	return r.report, r.next
}

// restarting returns a bench with a resource whose workloads are restarted.
func restarting(t *testing.T) (*bench, *restarts) {
	t.Helper()
	r := resource("db")
	r.Spec.RolloutRestart = &v2beta1.AzureKeyVaultRolloutRestart{Auto: true}
	b, done := newBench(t, r), &restarts{report: rollout.Report{Restarted: []string{`Deployment "d"`}}}
	b.controller.Restarter, b.controller.RestartDelay = done, 12*time.Second
	return b, done
}

// rotate stores another value in the vault and reconciles the resource.
func (b *bench) rotate(value string) time.Duration {
	b.Helper()
	b.vault.value, b.now = value, b.now.Add(30*time.Second)
	return b.reconcile("db").RequeueAfter
}

func TestWorkloadsAreRestartedOnceAfterTheWindow(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.now = b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Empty(t, done.changes, "nobody has old data of what is new")
	wait := b.rotate("rotated")
	changed := b.now
	assert.LessOrEqual(t, wait, 12*time.Second)
	b.now = b.now.Add(11 * time.Second)
	b.reconcile("db")
	assert.Empty(t, done.changes, "the window is open")
	b.now = b.now.Add(time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 1)
	assert.Equal(t, rollout.Change{Namespace: "shop", Resource: "db", Outputs: map[output.Kind]string{output.Secret: "out"}, ChangedAt: changed,
		Targets: recipe.Restart{Auto: true}}, done.changes[0])
	assert.Contains(t, b.events.events, `Normal RolloutRestarted restarted Deployment "d"`)
	assert.NotContains(t, b.ready("db").Message+fmt.Sprint(b.events.events), "is ignored")
	for range 10 {
		b.now = b.now.Add(30 * time.Second)
		b.reconcile("db")
	}
	assert.Len(t, done.changes, 1)
}

func TestAValueThatKeepsChangingDoesNotPutTheRestartOff(t *testing.T) {
	b, done := restarting(t)
	b.controller.RestartDelay = 70 * time.Second
	b.reconcile("db")
	for _, value := range []string{"a", "b", "c"} {
		assert.LessOrEqual(t, b.rotate(value), 30*time.Second, "looks at the vault go on meanwhile")
	}
	last := b.now
	b.now = b.now.Add(10 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 1, "70 s after the first change")
	assert.Equal(t, last, done.changes[0].ChangedAt, "of what was restarted before the last one, the rest would be missing")
}

func TestARestartThatFailsIsTriedAgain(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.rotate("rotated")
	changed := b.now
	done.next, done.report = errors.New("forbidden"), rollout.Report{}
	b.now = b.now.Add(12 * time.Second)
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 30*time.Second)
	assert.Contains(t, fmt.Sprint(b.events.events), "Warning RolloutRestartRefused restarting workloads failed")
	assert.Equal(t, metav1.ConditionTrue, b.ready("db").Status, "the Secret is in sync all the same")
	done.next, done.report = nil, rollout.Report{Skipped: []string{`Deployment "d" has no annotation`}}
	b.now = b.now.Add(30 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 2)
	assert.Equal(t, changed, done.changes[1].ChangedAt)
	assert.Contains(t, b.events.events, `Warning RolloutRestartRefused not restarted: Deployment "d" has no annotation`)
}

func TestANewLeaderCatchesUpWithARestart(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		want  int
	}{"soon": {10 * time.Second, 1}, "late": {10 * time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			b, done := restarting(t)
			b.reconcile("db")
			s := b.secret()
			s.CreationTimestamp = metav1.NewTime(b.now.Add(-time.Hour))
			require.NoError(t, b.client.Update(t.Context(), s))
			b.rotate("rotated")
			changed := b.now
			b.restart()
			b.now = b.now.Add(c.after)
			b.reconcile("db")
			b.now = b.now.Add(12 * time.Second)
			b.reconcile("db")
			require.Len(t, done.changes, c.want)
			if c.want == 1 {
				assert.True(t, changed.Equal(done.changes[0].ChangedAt))
			}
		})
	}
	b, done := restarting(t)
	b.reconcile("db")
	s := b.secret()
	s.CreationTimestamp = metav1.NewTime(b.now)
	require.NoError(t, b.client.Update(t.Context(), s))
	b.restart()
	b.reconcile("db")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Empty(t, done.changes, "the first data of an output are no change")
}

func TestANewLeaderRestartsForAChangeThatItFindsItself(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.now = b.now.Add(time.Hour)
	b.restart()
	b.rotate("rotated")
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	assert.Len(t, done.changes, 1)
}

func TestANewLeaderRestartsNothingForAnOutputThatItMakes(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.rotate("rotated")
	require.NoError(t, b.client.Delete(t.Context(), b.secret()))
	b.restart()
	b.reconcile("db")
	require.Equal(t, "rotated", string(b.secret().Data["password"]))
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Empty(t, done.changes, "nobody could have old data of it")
}

func TestAChangeThatWasNotWrittenRestartsNothing(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "out", errors.New("a policy"))
	for range 5 {
		b.rotate("rotated")
	}
	assert.Equal(t, canary, string(b.secret().Data["password"]))
	assert.Empty(t, done.changes, "or workloads would be restarted again and again, with the old data")
}

func TestRestartsThatTheInstallationDoesNotDoAreToldSo(t *testing.T) {
	b, _ := restarting(t)
	b.controller.Restarter = nil
	b.reconcile("db")
	assert.Contains(t, b.ready("db").Message, "controller.rolloutRestart.enabled")
	assert.Len(t, b.events.events, 2)
	b.rotate("rotated")
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Equal(t, "rotated", string(b.secret().Data["password"]))
}

func TestARestartThatIsNoLongerWantedIsNotDone(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	for _, before := range []time.Duration{0, time.Minute} {
		b.rotate(fmt.Sprint("rotated ", before))
		b.now = b.now.Add(before)
		b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.RolloutRestart = nil })
		b.now = b.now.Add(time.Minute)
		b.reconcile("db")
		assert.Empty(t, done.changes)
		b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) {
			s.RolloutRestart = &v2beta1.AzureKeyVaultRolloutRestart{Auto: true}
		})
	}
}

func TestAChangeThatAListShowsDuringARestartIsFollowedAtOnce(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	b.rotate("second")
	object := b.vault.calls[0]
	done.meanwhile = func() {
		b.vault.value = "third"
		b.controller.OnObjectChanged(object)
	}
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 1)
	assert.Equal(t, "third", string(b.secret().Data["password"]), "the look follows the restart")
}

func TestARepairRestartsNothing(t *testing.T) {
	b, done := restarting(t)
	b.reconcile("db")
	s := b.secret()
	s.Data["password"] = []byte("edited")
	require.NoError(t, b.client.Update(t.Context(), s))
	b.reconcile("db")
	require.NoError(t, b.client.Delete(t.Context(), b.secret()))
	b.reconcile("db")
	require.Equal(t, canary, string(b.secret().Data["password"]))
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Empty(t, done.changes, "the vault's data are what they were")
}

// watchedRestarting returns a bench with a resource that only pods use, whose workloads are restarted, after its first
// read.
func watchedRestarting(t *testing.T) (*bench, *restarts) {
	t.Helper()
	r := podsOnly("db")
	r.Spec.RolloutRestart = &v2beta1.AzureKeyVaultRolloutRestart{Auto: true}
	b, done := watching(t, r), &restarts{report: rollout.Report{Restarted: []string{`Deployment "d"`}}}
	b.controller.Restarter, b.controller.RestartDelay = done, 12*time.Second
	b.firstRead()
	return b, done
}

func TestAValueThatOnlyPodsUseRestartsWorkloads(t *testing.T) {
	b, done := watchedRestarting(t)
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Empty(t, done.changes, "the first value restarts nothing")
	assert.Nil(t, b.status("db").PendingRestart)
	b.rotate("rotated")
	changed := b.now
	pending := b.status("db").PendingRestart
	require.NotNil(t, pending)
	assert.True(t, pending.ChangedAt.Time.Equal(changed))
	assert.Equal(t, "v-of-c", pending.PreviousVersion)
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 1)
	assert.Equal(t, rollout.Change{Namespace: "shop", Resource: "db", Outputs: map[output.Kind]string{}, ChangedAt: changed,
		Targets: recipe.Restart{Auto: true}}, done.changes[0])
	assert.Nil(t, b.status("db").PendingRestart)
	b.now = b.now.Add(time.Hour)
	b.reconcile("db")
	assert.Len(t, done.changes, 1)
}

func TestARestartThatHasToWaitIsContinuedAndTheStatusSaysWhoHasWhat(t *testing.T) {
	b, done := watchedRestarting(t)
	b.rotate("rotated")
	changed := b.now
	done.report = rollout.Report{Unfinished: true, Restarted: []string{`Deployment "b"`}, Skipped: []string{`Deployment "z" does not exist`},
		Workloads: []rollout.Workload{{Kind: "Deployment", Name: "a", Pending: "it is paused"}, {Kind: "Deployment", Name: "b", IsCurrent: true, Pending: "its pods are being replaced"}}}
	b.now = b.now.Add(12 * time.Second)
	wait := b.reconcile("db").RequeueAfter
	assert.LessOrEqual(t, wait, 20*time.Second)
	status := b.status("db")
	assert.Equal(t, []v2beta1.AzureKeyVaultWorkloadStatus{{Kind: "Deployment", Name: "a", Version: "v-of-c", Pending: "it is paused"},
		{Kind: "Deployment", Name: "b", Version: "v-of-r", Pending: "its pods are being replaced"}}, status.Workloads)
	require.NotNil(t, status.PendingRestart)
	events := len(b.events.events)

	b.restart() // in the middle
	b.reconcile("db")
	done.report.Restarted = nil
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 2)
	assert.True(t, done.changes[1].ChangedAt.Equal(changed), "the same change, after which nothing is restarted twice")
	for range 3 {
		b.now = b.now.Add(70 * time.Second)
		b.reconcile("db")
	}
	require.Len(t, done.changes, 5)
	assert.True(t, done.changes[4].Again)
	assert.Len(t, b.events.events, events+1, "the reasons are told once by each leader")
	done.report = rollout.Report{Workloads: []rollout.Workload{{Kind: "Deployment", Name: "a", IsCurrent: true}, {Kind: "Deployment", Name: "b", IsCurrent: true}}}
	b.now = b.now.Add(70 * time.Second)
	b.reconcile("db")
	status = b.status("db")
	assert.Nil(t, status.PendingRestart)
	assert.Equal(t, []v2beta1.AzureKeyVaultWorkloadStatus{{Kind: "Deployment", Name: "a", Version: "v-of-r"}, {Kind: "Deployment", Name: "b", Version: "v-of-r"}}, status.Workloads)
	b.now = b.now.Add(time.Hour)
	b.restart()
	b.firstRead()
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Len(t, done.changes, 6, "it is done, also for the next leader")
}

func TestARestartWithoutAFreeSlotCostsNoRequests(t *testing.T) {
	b, done := watchedRestarting(t)
	b.rotate("rotated")
	done.full, done.report = true, rollout.Report{Unfinished: true, NeedsSlot: true}
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	require.Len(t, done.changes, 1)
	for range 5 {
		b.now = b.now.Add(20 * time.Second)
		assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 30*time.Second)
	}
	assert.Len(t, done.changes, 1)
	done.full, done.report = false, rollout.Report{}
	b.now = b.now.Add(20 * time.Second)
	b.reconcile("db")
	assert.Len(t, done.changes, 2)
}

func TestThePostponedAndTheFailedKeepTheirPlan(t *testing.T) {
	b, done := watchedRestarting(t)
	b.rotate("rotated")
	done.report = rollout.Report{Unfinished: true, Postponed: true}
	b.now = b.now.Add(12 * time.Second)
	assert.LessOrEqual(t, b.reconcile("db").RequeueAfter, 2*time.Second)
	require.NotNil(t, b.status("db").PendingRestart)
	b.vault.next, b.now = errors.New("a bug"), b.now.Add(30*time.Second)
	_, _ = b.controller.Reconcile(t.Context(), requestForDB())
	b.restart()
	done.report = rollout.Report{}
	_, _ = b.controller.Reconcile(t.Context(), requestForDB())
	require.NotNil(t, b.status("db").PendingRestart, "a leader that can't read the vault forgets nothing")
	calls := len(done.changes)
	b.now = b.now.Add(20 * time.Second)
	_, _ = b.controller.Reconcile(t.Context(), requestForDB())
	assert.Len(t, done.changes, calls+1)
}

func TestAStatusFromTheFutureRestartsOnce(t *testing.T) {
	b, done := watchedRestarting(t)
	var r v2beta1.AzureKeyVaultSecret
	require.NoError(t, b.client.Get(t.Context(), requestForDB().NamespacedName, &r))
	r.Status.PendingRestart = &v2beta1.AzureKeyVaultPendingRestart{ChangedAt: metav1.NewTime(b.now.Add(10000 * time.Hour))}
	r.Status.ValueHash = "forged"
	require.NoError(t, b.client.Status().Update(t.Context(), &r))
	b.now = b.now.Add(time.Minute)
	b.reconcile("db")
	assert.Empty(t, done.changes, "a running controller goes by its memory")
	require.NoError(t, b.client.Get(t.Context(), requestForDB().NamespacedName, &r))
	r.Status.PendingRestart = &v2beta1.AzureKeyVaultPendingRestart{ChangedAt: metav1.NewTime(b.now.Add(10000 * time.Hour))}
	require.NoError(t, b.client.Status().Update(t.Context(), &r))
	b.restart()
	b.reconcile("db")
	for range 5 {
		b.now = b.now.Add(time.Minute)
		b.reconcile("db")
	}
	require.Len(t, done.changes, 1)
	assert.False(t, done.changes[0].ChangedAt.After(b.now))
}

func TestAStatusHasFiftyWorkloadsAndTheNumberOfOthers(t *testing.T) {
	b, done := watchedRestarting(t)
	b.rotate("rotated")
	for i := range 73 {
		done.report.Workloads = append(done.report.Workloads, rollout.Workload{Kind: "Deployment", Name: fmt.Sprintf("d-%02d", i), IsCurrent: true})
	}
	b.now = b.now.Add(12 * time.Second)
	b.reconcile("db")
	assert.Len(t, b.status("db").Workloads, 50)
	assert.EqualValues(t, 23, b.status("db").MoreWorkloads)
	b.change("db", func(s *v2beta1.AzureKeyVaultSecretSpec) { s.RolloutRestart = nil })
	assert.Empty(t, b.status("db").Workloads)
	assert.Zero(t, b.status("db").MoreWorkloads)
}
