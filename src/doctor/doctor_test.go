package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

func options() doctor.Options {
	return doctor.Options{Timeout: 5 * time.Second, CheckTimeout: 5 * time.Second, Parallel: 4}
}

// finds returns a check that finds this.
func finds(name string, findings ...doctor.Finding) doctor.Check {
	return doctor.Check{Category: "C", Name: name, Run: func(context.Context) []doctor.Finding { return findings }}
}

func TestFindingsComeInTheOrderOfTheChecks(t *testing.T) {
	slow := doctor.Check{Category: "A", Name: "slow", Run: func(context.Context) []doctor.Finding {
		time.Sleep(20 * time.Millisecond) // it ends after the quick one
		return nil
	}}
	found := doctor.Run(t.Context(), []doctor.Check{slow, finds("bad", doctor.Finding{Severity: doctor.Error, What: "w"})}, options())
	assert.Equal(t, []doctor.Finding{{Category: "A", Check: "slow", Severity: doctor.OK, What: "slow"},
		{Category: "C", Check: "bad", Severity: doctor.Error, What: "w"}}, found)
	assert.Equal(t, doctor.Error, doctor.Worst(found))
	assert.Equal(t, doctor.OK, doctor.Worst(nil))
}

func TestTimeAndNumberOfChecksAreLimited(t *testing.T) {
	var running, most atomic.Int32
	stuck := doctor.Check{Category: "C", Name: "stuck", Run: func(context.Context) []doctor.Finding {
		now := running.Add(1)
		defer running.Add(-1)
		for {
			if last := most.Load(); now <= last || most.CompareAndSwap(last, now) {
				break
			}
		}
		time.Sleep(500 * time.Millisecond) // it ignores its context
		return []doctor.Finding{{Severity: doctor.Error, What: "late"}}
	}}
	o := options()
	o.CheckTimeout, o.Parallel = 30*time.Millisecond, 2
	found := doctor.Run(t.Context(), []doctor.Check{stuck, stuck, finds("good")}, o)
	require.Len(t, found, 3)
	assert.Equal(t, doctor.Warning, found[0].Severity)
	assert.Contains(t, found[0].What, "did not end in time")
	assert.Contains(t, found[0].Try, "--timeout")
	assert.Equal(t, doctor.OK, found[2].Severity)
	assert.LessOrEqual(t, most.Load(), int32(2))

	slow := doctor.Check{Name: "slow", Run: func(ctx context.Context) []doctor.Finding {
		<-ctx.Done()
		return []doctor.Finding{{Severity: doctor.Error, What: "an effect of the end"}}
	}}
	for range 20 {
		assert.Contains(t, doctor.Run(t.Context(), []doctor.Check{slow}, o)[0].What, "did not end in time")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Contains(t, doctor.Run(ctx, []doctor.Check{slow}, options())[0].What, "interrupted")
}

func TestAMissingRightIsNamed(t *testing.T) {
	check := finds("c", doctor.Finding{Severity: doctor.Error, What: "w"})
	check.Needs = []doctor.Right{{Verb: "list", Resource: "nodes"},
		{Verb: "get", Group: "g.io", Resource: "things", Subresource: "log", Name: "n", Namespace: "ns"}}
	o := options()
	o.MissingRights = func(_ context.Context, rights []doctor.Right) ([]doctor.Right, error) { return rights, nil }
	found := doctor.Run(t.Context(), []doctor.Check{check}, o)
	require.Len(t, found, 1)
	assert.Equal(t, doctor.Skipped, found[0].Severity)
	assert.Equal(t, "list nodes, get things.g.io/n --subresource=log -n ns", found[0].Right)
	assert.Contains(t, found[0].What, found[0].Right)
	o.MissingRights = func(context.Context, []doctor.Right) ([]doctor.Right, error) { return nil, errors.New("away") }
	assert.Equal(t, "away", doctor.Run(t.Context(), []doctor.Check{check}, o)[0].What)
	o.MissingRights = func(context.Context, []doctor.Right) ([]doctor.Right, error) { return nil, nil }
	assert.Equal(t, "w", doctor.Run(t.Context(), []doctor.Check{check}, o)[0].What)
}

func TestEffectsAreNoFaultsOfTheirOwn(t *testing.T) {
	effect := doctor.Finding{Severity: doctor.Error, What: "effect", EffectOf: []string{"other", "cause"}}
	cause := doctor.Finding{Severity: doctor.Error, What: "cause"}
	found := doctor.Run(t.Context(), []doctor.Check{finds("effect", effect), finds("cause", cause)}, options())
	assert.Equal(t, doctor.Skipped, found[0].Severity)
	assert.Equal(t, "because this failed: cause", found[0].What)
	cause.Severity = doctor.Warning
	found = doctor.Run(t.Context(), []doctor.Check{finds("effect", effect), finds("cause", cause)}, options())
	assert.Equal(t, doctor.Error, found[0].Severity, "only an error explains others")
}

func TestErrorsBecomeFindingsAndFindingsErrors(t *testing.T) {
	err := fmt.Errorf("reading: %w", fault.NewWithNextStep(fault.Denied, "grant it", "denied"))
	assert.Equal(t, doctor.Finding{Object: "o", Severity: doctor.Error, What: "reading: denied", Try: "grant it"}, doctor.FromError("o", err))
	assert.Equal(t, "do that", doctor.FromError("", errors.New("this; do that")).Try)
	back := doctor.Finding{What: "denied", Why: "no role", Try: "grant it"}.Err(fault.Denied)
	require.EqualError(t, back, "denied: no role; grant it")
	assert.Equal(t, fault.Denied, fault.KindOf(back))
	assert.Equal(t, "grant it", fault.NextStepOf(back))
}

func report(t *testing.T, format doctor.Format, findings ...doctor.Finding) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, doctor.Write(&out, format, findings))
	return out.String()
}

func TestReports(t *testing.T) {
	all := []doctor.Finding{{Category: "A", Check: "a", Severity: doctor.OK, What: "fine"},
		{Category: "A", Check: "b", Object: "pod/x", Severity: doctor.Error, What: "bad\n\x1b[31m", Why: "y", Try: "t", Command: "c <1>"},
		{Category: "B", Check: "c", Severity: doctor.Skipped, What: "no right", Try: "ask", Right: "list nodes"}}
	assert.Equal(t, "A\n-\nok    fine\nFAIL  pod/x: bad [31m\n      check: b\n      why: y\n      try: t\n      run: c <1>\n\nB\n-\n"+
		"skip  not checked: c: no right\n\nStatus: error (errors: 1, warnings: 0, skipped: 1, ok: 1)\n", report(t, doctor.Table, all...))
	assert.NotContains(t, report(t, doctor.Short, all...), "fine")
	assert.Equal(t, "Status: ok (errors: 0, warnings: 0, skipped: 0, ok: 1)\n", report(t, doctor.Short, all[0]))
	assert.Contains(t, report(t, doctor.Short, all[2]), "need more rights")
	var decoded struct {
		Status   doctor.Severity
		Findings []doctor.Finding
	}
	text := report(t, doctor.JSON, all...)
	require.NoError(t, json.Unmarshal([]byte(text), &decoded))
	assert.Equal(t, doctor.Error, decoded.Status)
	assert.Equal(t, all, decoded.Findings)
	assert.Contains(t, text, "c <1>", "commands can be copied")
	assert.Contains(t, report(t, doctor.JSON), `"findings": []`)
	assert.Len(t, doctor.Formats(), 3)
}
