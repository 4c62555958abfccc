package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

func TestEveryKindHasItsReasonAndExitCode(t *testing.T) {
	want := map[fault.Kind]struct {
		reason string
		exit   int
	}{
		fault.Invalid:         {"InvalidSpec", 64},
		fault.Malformed:       {"MalformedObject", 65},
		fault.NotFound:        {"ObjectNotFound", 66},
		fault.Disabled:        {"ObjectDisabled", 66},
		fault.Unauthenticated: {"AuthenticationFailed", 77},
		fault.Denied:          {"AccessDenied", 77},
		fault.Throttled:       {"Throttled", 75},
		fault.Unavailable:     {"VaultUnavailable", 75},
		fault.Conflict:        {"TargetConflict", 70},
		fault.Bug:             {"InternalError", 70},
	}
	assert.Len(t, fault.Kinds(), len(want))
	for _, kind := range fault.Kinds() {
		assert.Equal(t, want[kind].reason, kind.Reason(), kind)
		assert.Equal(t, want[kind].exit, kind.ExitCode(), kind)
		assert.Equal(t, kind == fault.Throttled || kind == fault.Unavailable, kind.IsTransient(), kind)
	}
}

func TestKindOf(t *testing.T) {
	cause := errors.New("boom")
	wrapped := fault.Wrap(fault.Denied, cause, "reading secret x")
	cases := map[string]struct {
		err  error
		want fault.Kind
	}{
		"nil has no kind":                      {nil, ""},
		"an unclassified error is a bug":       {cause, fault.Bug},
		"a classified one keeps its kind":      {wrapped, fault.Denied},
		"also behind another wrap":             {fmt.Errorf("syncing: %w", wrapped), fault.Denied},
		"the outermost classification decides": {fault.Wrap(fault.Invalid, wrapped, "checking"), fault.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, fault.KindOf(c.err)) })
	}
	assert.ErrorIs(t, wrapped, cause)
}

func TestTextSaysWhatFailedWhyAndWhatToDo(t *testing.T) {
	err := &fault.Error{Kind: fault.Throttled, Operation: "reading a", Next: "wait", Cause: errors.New("429"), RetryAfter: time.Second}
	assert.Equal(t, "reading a: 429; wait", err.Error())
	assert.Equal(t, time.Second, fault.RetryAfter(fmt.Errorf("x: %w", err)))
	assert.Zero(t, fault.RetryAfter(errors.New("x")))
	assert.Equal(t, `the name "a" is taken`, fault.New(fault.Conflict, "the name %q is taken", "a").Error())
}

func TestWhatMayComeLaterIsKnownBehindOtherErrors(t *testing.T) {
	later := &fault.Error{Kind: fault.NotFound, Operation: "there is no resource", CanAppearLater: true}
	assert.True(t, fault.CanAppearLater(later))
	assert.True(t, fault.CanAppearLater(fmt.Errorf("x: %w", fault.Wrap(fault.NotFound, fmt.Errorf("y: %w", later), "variable A"))))
	assert.False(t, fault.CanAppearLater(fault.Wrap(fault.NotFound, errors.New("no secret"), "reading")))
	assert.False(t, fault.CanAppearLater(errors.New("x")))
	assert.False(t, fault.CanAppearLater(nil))
}

func TestAnErrorThatNobodyClassifiedStandsAlone(t *testing.T) {
	classified, bug := fault.New(fault.Denied, "denied"), errors.New("anything")
	assert.NoError(t, fault.Join(nil, nil))
	assert.Equal(t, bug, fault.Join(classified, bug))
	assert.Equal(t, bug, fault.Join(bug, classified))
	assert.EqualError(t, fault.Join(classified, fault.New(fault.Conflict, "taken")), "denied\ntaken")
	assert.Equal(t, fault.Denied, fault.KindOf(fault.Join(classified, nil)))
}

func TestCauseAndNextStepAreApartHoweverErrorsAreWrapped(t *testing.T) {
	inner := fault.NewWithNextStep(fault.Unauthenticated, "rotate it", "the secret of %s expired", "app")
	outer := &fault.Error{Kind: fault.Unauthenticated, Operation: "reading a", Cause: inner}
	for name, c := range map[string]struct {
		err               error
		cause, next, text string
	}{
		"nothing":                   {nil, "", "", ""},
		"an unclassified error":     {errors.New("boom"), "boom", "", "boom"},
		"advice of its own":         {inner, "the secret of app expired", "rotate it", "the secret of app expired; rotate it"},
		"advice of the cause":       {outer, "reading a: the secret of app expired", "rotate it", "reading a: the secret of app expired; rotate it"},
		"the outermost advice wins": {&fault.Error{Operation: "x", Cause: inner, Next: "wait"}, "x: the secret of app expired", "wait", "x: the secret of app expired; wait"},
		"a cause alone":             {&fault.Error{Cause: inner}, "the secret of app expired", "rotate it", "the secret of app expired; rotate it"},
		"advice in the middle": {fmt.Errorf("syncing (%w) failed", outer), "syncing (reading a: the secret of app expired) failed", "rotate it",
			"syncing (reading a: the secret of app expired; rotate it) failed"},
		"joined": {errors.Join(outer, inner, fault.NewWithNextStep(fault.Denied, "ask", "no")), "reading a: the secret of app expired\nthe secret of app expired\nno",
			"rotate it; ask", "reading a: the secret of app expired; rotate it\nthe secret of app expired; rotate it\nno; ask"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.cause, fault.CauseOf(c.err))
			assert.Equal(t, c.next, fault.NextStepOf(c.err))
			if c.err != nil {
				assert.Equal(t, c.text, c.err.Error())
			}
		})
	}
}
