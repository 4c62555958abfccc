//go:build cluster

package quiz

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/akv2k8s/akv2k8s/src/cli"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// budget is what a command may take, and patience what a fault may take until it has its effect on a noisy machine.
const budget, patience = 10 * time.Second, 90 * time.Second

// canary begins every secret value and every wrong credential of these tests.
const canary = "canary-4c1d77"

// system is the namespace and the name of the release.
const system = "akv2k8s"

// fault is one fault, and what the commands must say about it.
type fault struct {
	name string
	// plant makes it and waits until it has its effect. undo ends it; nil if the next part of the test does not see it.
	plant func(context.Context) error
	undo  func(context.Context) error
	// commands are the command lines that must name it, without -o json.
	commands [][]string
	// says are parts of the first finding of the highest severity. next is a part of its next step.
	says []string
	next string
	// azureCommand is a part of a command of Azure that the checks of Azure must print.
	azureCommand string
	// also has a part of each other finding that is right: an effect of the fault.
	also []string
	// severity of the first finding, of doctor; empty means error.
	severity string
}

// quiz is the installation, and the score.
type quiz struct {
	stage *stage.Stage
	// folder is for manifests.
	folder string
	// planted and named count faults. slowest is the time of the slowest command, and which one it was.
	planted, named int
	slowest        time.Duration
	slowestCommand string
}

func TestQuiz(t *testing.T) {
	q := &quiz{stage: stagetest.Open(t, stagetest.Config(t, "quiz")), folder: t.TempDir()}
	require.NoError(t, q.stage.Install(t.Context(), stage.Release{Name: system, Namespace: system,
		Values: map[string]any{"azureKeyVaultResyncPeriod": 30}}))
	require.NoError(t, q.stage.Settled(t.Context(), system))
	t.Cleanup(func() { stagetest.ShowOnFailure(t, q.stage, system) })
	q.healthy(t)
	for _, part := range []struct {
		name   string
		faults func(*testing.T, *quiz) []fault
		// isolated means that each fault has a namespace or an object of its own, so they can exist at the same time.
		isolated bool
	}{
		{"vaults", vaultFaults, true},
		{"contents", contentFaults, true},
		{"credentials", credentialFaults, true},
		{"admission", admissionFaults, true},
		{"files", fileFaults, true},
		{"pods", podFaults, true},
		{"sign-in", signInFaults, false},
		{"namespaces", namespaceFaults, false},
		{"installation", installationFaults, false},
		{"start", startFaults, false},
	} {
		t.Run(part.name, func(t *testing.T) {
			faults := part.faults(t, q)
			if part.isolated {
				q.plantAll(t, faults)
			}
			for _, f := range faults {
				t.Run(f.name, func(t *testing.T) { q.examine(t, f, part.isolated) })
			}
			if part.isolated {
				q.undoAll(t, faults)
			}
		})
	}
	q.healthy(t)
	score := fmt.Sprintf("%d of %d faults were named first and alone; the slowest command took %s: %s", q.named, q.planted,
		q.slowest.Round(100*time.Millisecond), q.slowestCommand)
	q.stage.Say("%s", score)
	assert.Equal(t, q.planted, q.named, score)
}

// plantAll plants faults at the same time, because some need time until they have their effect.
func (q *quiz) plantAll(t *testing.T, faults []fault) {
	t.Helper()
	started := time.Now()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(12)
	for _, f := range faults {
		group.Go(func() error {
			if err := f.plant(ctx); err != nil {
				return fmt.Errorf("planting %q: %w", f.name, err)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	q.stage.Say("planted %d faults in %s", len(faults), time.Since(started).Round(time.Second))
}

func (q *quiz) undoAll(t *testing.T, faults []fault) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(40) // it is only waiting
	for _, f := range faults {
		if f.undo != nil {
			group.Go(func() error { return f.undo(ctx) })
		}
	}
	require.NoError(t, group.Wait())
}

// examine plants a fault unless that is done, runs its commands, judges them, and undoes the fault.
func (q *quiz) examine(t *testing.T, f fault, isPlanted bool) {
	q.planted++
	if !isPlanted {
		started := time.Now()
		if f.undo != nil {
			defer func() {
				require.NoError(t, f.undo(context.WithoutCancel(t.Context())))
				q.awaitHealth(t)
			}()
		}
		require.NoError(t, f.plant(t.Context()))
		t.Logf("planted in %s", time.Since(started).Round(100*time.Millisecond))
	}
	var wrong []string
	var took []time.Duration
	for _, command := range f.commands {
		started := time.Now()
		findings, err := q.ask(t, command)
		took = append(took, time.Since(started))
		if err == nil {
			err = f.judge(findings, slices.Contains(command, "--azure"))
		}
		line := strings.Join(command, " ")
		if d := took[len(took)-1]; d > budget && err == nil {
			err = fmt.Errorf("it took %s", d.Round(100*time.Millisecond))
		} else if d > q.slowest {
			q.slowest, q.slowestCommand = d, line
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", line, err))
		}
	}
	for i := range took {
		took[i] = took[i].Round(100 * time.Millisecond)
	}
	if len(wrong) == 0 {
		q.named++
		q.stage.Say("ok    %s %v", f.name, took)
		return
	}
	q.stage.Say("wrong %s %v: %s", f.name, took, strings.Join(wrong, "\n      "))
	t.Errorf("%s", strings.Join(wrong, "\n"))
}

// finding is what both commands print as JSON.
type finding struct {
	Check, Object, Severity, What, Why, Try, Command string
}

func (f finding) String() string {
	return strings.Join([]string{f.Severity, f.Check, f.Object, f.What, f.Why, f.Try, f.Command}, " | ")
}

// run runs kubectl akv2k8s, and returns what it prints. It fails the test if a secret is in it.
func (q *quiz) run(t *testing.T, args []string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*budget)
	defer cancel()
	var out, errOut bytes.Buffer
	args = slices.Insert(slices.Clone(args), 1, "--kubeconfig", q.stage.Cluster.Kubeconfig())
	code := cli.Run(ctx, args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	for _, secret := range []string{canary, stage.AppSecret, "eyJ"} {
		assert.NotContains(t, out.String()+errOut.String(), secret, "kubectl akv2k8s %v", args)
	}
	if out.Len() == 0 {
		return errOut.String(), code
	}
	return out.String(), code
}

// ask runs a command with JSON output and returns its findings.
func (q *quiz) ask(t *testing.T, command []string) ([]finding, error) {
	t.Helper()
	out, code := q.run(t, append(slices.Clone(command), "-o", "json"))
	var report struct{ Findings []finding }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return nil, fmt.Errorf("exit code %d, %w: %.600s", code, err, out)
	}
	return report.Findings, nil
}

// judge returns why the findings do not name the fault first and alone.
func (f fault) judge(all []finding, withAzure bool) error {
	var found []finding
	for _, severity := range []string{"error", "warning"} { // the highest first
		for _, one := range all {
			if one.Severity == severity {
				found = append(found, one)
			}
		}
	}
	if len(found) == 0 {
		return errors.New("it found nothing")
	}
	first := found[0]
	for _, part := range f.says {
		if !strings.Contains(first.String(), part) {
			return fmt.Errorf("its first finding does not say %q: %s", part, first)
		}
	}
	switch next := first.Try + " " + first.Command; {
	case strings.TrimSpace(next) == "":
		return fmt.Errorf("its first finding has no next step: %s", first)
	case !strings.Contains(next+" "+first.Why, f.next):
		return fmt.Errorf("the next step is not %q: %s", f.next, first)
	}
	if withAzure && !slices.ContainsFunc(found, func(one finding) bool {
		return strings.Contains(one.Command, f.azureCommand)
	}) {
		return fmt.Errorf("no finding has the command %q: %v", f.azureCommand, found)
	}
	if first.Severity != cmp.Or(f.severity, "error") {
		return fmt.Errorf("its severity is wrong: %s", first)
	}
	for _, other := range found[1:] {
		isRight := func(part string) bool { return strings.Contains(other.String(), part) }
		if !slices.ContainsFunc(f.also, isRight) && !isRight(f.says[0]) {
			return fmt.Errorf("it says something else, too: %s", other)
		}
	}
	return nil
}

// complaints are the findings of the doctor that a healthy installation must not have.
func (q *quiz) complaints(t *testing.T, args ...string) (texts []string) {
	t.Helper()
	findings, err := q.ask(t, append([]string{"doctor"}, args...))
	require.NoError(t, err)
	for _, f := range findings {
		if f.Severity != "ok" {
			texts = append(texts, f.String())
		}
	}
	return texts
}

// awaitHealth waits until the doctor has no complaint.
func (q *quiz) awaitHealth(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	// Right after a change, the status of a Deployment is that of before.
	require.NoError(t, errors.Join(q.rolledOut(controller)(ctx), q.rolledOut(envInjector)(ctx)))
	require.NoError(t, stage.Await(ctx, patience, "a healthy installation",
		func(context.Context) error {
			if found := q.complaints(t); len(found) > 0 {
				return errors.New(strings.Join(found, "\n"))
			}
			return nil
		}))
}

// healthy has the doctor examine the installation without a fault, with a resource that is in sync and a pod that
// runs: it must have no complaint, and also explain must find nothing.
func (q *quiz) healthy(t *testing.T) {
	t.Helper()
	q.awaitHealth(t)
	h := home{q, "healthy"}
	ctx := t.Context()
	require.NoError(t, h.create(ctx, nil))
	require.NoError(t, h.resource(ctx, "db", ""))
	require.NoError(t, h.awaitReason(ctx, "db", "Synced"))
	require.NoError(t, h.start(ctx, h.pod("app", "DB=db@azurekeyvault")))
	require.NoError(t, h.awaitEnd(ctx, "app"))
	for _, args := range [][]string{nil, {"-n", h.name}, {"--azure"}, {"-n", h.name, "akvs/db", "--azure"},
		{"-n", h.name, "pod/app"}} {
		assert.Empty(t, q.complaints(t, args...), "doctor %v", args)
	}
	for _, object := range []string{"akvs/db", "pod/app"} {
		findings, err := q.ask(t, []string{"explain", object, "-n", h.name})
		require.NoError(t, err)
		assert.Empty(t, findings, object)
	}
	require.NoError(t, h.remove(ctx))
}
