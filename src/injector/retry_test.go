package injector_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

const reference = "A=a@azurekeyvault"

// notCreatedYet is the error for a resource that does not exist yet.
func notCreatedYet() error {
	return &fault.Error{Kind: fault.NotFound, Operation: "absent", CanAppearLater: true}
}

// failAttempts makes the first attempts fail.
func (b *fixture) failAttempts(times int, err error) { b.answers = slices.Repeat([]error{err}, times) }

// totalWait is the sum of all waits.
func (b *fixture) totalWait() (sum time.Duration) {
	for _, d := range b.slept {
		sum += d
	}
	return sum
}

func TestAnOutageIsWaitedFor(t *testing.T) {
	b := newFixture(t, reference, "ENV_INJECTOR_TIMEOUT=30s")
	b.answers = []error{fault.New(fault.Unavailable, "x"), &fault.Error{Kind: fault.Throttled, RetryAfter: 9 * time.Second}, fault.New(fault.Unavailable, "x")}
	b.run()
	assert.Equal(t, []time.Duration{250 * time.Millisecond, 9*time.Second + 500*time.Millisecond, time.Second}, b.slept)
	assert.NotEmpty(t, b.path)
	for setting, most := range map[string]time.Duration{
		"X=1": limits.WaitWithoutRestart, "ENV_INJECTOR_DEFAULT_TIMEOUT=10s": 10 * time.Second, "ENV_INJECTOR_TIMEOUT=2m": 2 * time.Minute, "ENV_INJECTOR_TIMEOUT=0s": 0,
	} {
		for _, err := range []error{fault.New(fault.Unavailable, "x"), fault.New(fault.Throttled, "x"), notCreatedYet()} {
			b = newFixture(t, reference, setting)
			b.failAttempts(1000, err)
			assert.Equal(t, fault.KindOf(err).ExitCode(), b.run())
			assert.Equal(t, most, b.totalWait(), "%s, %v", setting, err)
		}
	}
	b = newFixture(t, reference, "ENV_INJECTOR_DEFAULT_TIMEOUT=10s", "ENV_INJECTOR_TIMEOUT=20s")
	b.failAttempts(1000, notCreatedYet())
	b.run()
	assert.Equal(t, 20*time.Second, b.totalWait(), "the user's setting comes first")
}

// TestWhatOnlySomebodyCanMendEndsAtOnce covers a fault that let a rolling update end with no running pod: a container
// that retries counts as ready.
func TestWhatOnlySomebodyCanMendEndsAtOnce(t *testing.T) {
	for _, kind := range fault.Kinds() {
		b := newFixture(t, reference)
		b.failAttempts(1, fault.New(kind, "for a reason"))
		code := b.run()
		if kind.IsTransient() {
			assert.NotEmpty(t, b.path, "%s: it is waited for", kind)
			continue
		}
		assert.Empty(t, b.slept, kind)
		assert.Equal(t, kind.ExitCode(), code)
		assert.Equal(t, kind.Reason()+": for a reason", b.message)
	}
}

func TestRetriesThatTheUserConfiguredAreDone(t *testing.T) {
	seconds := func(all ...int) (waits []time.Duration) {
		for _, s := range all {
			waits = append(waits, time.Duration(s)*time.Second+time.Duration(s)*time.Second/2) // with the most jitter
		}
		return waits
	}
	for name, c := range map[string]struct {
		settings []string
		err      error
		want     []time.Duration
	}{
		"a number":                {[]string{"ENV_INJECTOR_RETRIES=2"}, fault.New(fault.Denied, "x"), seconds(3, 6)},
		"a wait":                  {[]string{"ENV_INJECTOR_WAIT_BEFORE_RETRY=1"}, fault.New(fault.NotFound, "x"), seconds(1, 2, 4)},
		"both":                    {[]string{"ENV_INJECTOR_RETRIES=1", "ENV_INJECTOR_WAIT_BEFORE_RETRY=2"}, fault.New(fault.Disabled, "x"), seconds(2)},
		"of what may come later":  {[]string{"ENV_INJECTOR_RETRIES=1"}, notCreatedYet(), seconds(3)},
		"none":                    {[]string{"ENV_INJECTOR_RETRIES=0"}, notCreatedYet(), nil},
		"without a wait":          {[]string{"ENV_INJECTOR_RETRIES=2", "ENV_INJECTOR_WAIT_BEFORE_RETRY=0"}, fault.New(fault.Denied, "x"), seconds(0, 0)},
		"of what can't be mended": {[]string{"ENV_INJECTOR_RETRIES=2"}, fault.New(fault.Malformed, "x"), nil},
		"of a wrong spec":         {[]string{"ENV_INJECTOR_RETRIES=2"}, fault.New(fault.Invalid, "x"), nil},
		"of a bug":                {[]string{"ENV_INJECTOR_RETRIES=2"}, errors.New("x"), nil},
		"one wait of an hour at most": {[]string{"ENV_INJECTOR_RETRIES=3", "ENV_INJECTOR_WAIT_BEFORE_RETRY=9223372036854775807"}, fault.New(fault.Denied, "x"),
			seconds(3600, 3600, 3600)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, append(c.settings, reference)...)
			b.failAttempts(1000, c.err)
			assert.Equal(t, fault.KindOf(c.err).ExitCode(), b.run())
			assert.Equal(t, c.want, b.slept)
		})
	}
}

func TestWaitsHaveFullJitter(t *testing.T) {
	b := newFixture(t, reference)
	var ceilings []time.Duration
	b.config.Jitter = func(most time.Duration) time.Duration { ceilings = append(ceilings, most); return most / 8 }
	b.failAttempts(9, fault.New(fault.Unavailable, "x"))
	b.run()
	ms := time.Millisecond
	assert.Equal(t, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 5000 * ms, 5000 * ms, 5000 * ms, 5000 * ms}, ceilings)
	for i, wait := range b.slept {
		assert.Equal(t, ceilings[i]/8, wait, "all of the wait is random")
	}
}

func TestAServerCannotStopAPodForADay(t *testing.T) {
	for name, asked := range map[string]time.Duration{"a day": 24 * time.Hour, "less than nothing": -time.Hour} {
		b := newFixture(t, reference, "ENV_INJECTOR_TIMEOUT=5m")
		b.failAttempts(1, &fault.Error{Kind: fault.Throttled, RetryAfter: asked})
		b.run()
		assert.NotEmpty(t, b.path, name)
		assert.LessOrEqual(t, b.totalWait(), limits.InjectorRetryAfter+time.Second, name)
	}
	b := newFixture(t, reference, "ENV_INJECTOR_TIMEOUT=30s")
	b.failAttempts(1, &fault.Error{Kind: fault.Throttled, RetryAfter: 31 * time.Second})
	assert.Equal(t, 75, b.run(), "the server is not asked before the time that it named")
	assert.Empty(t, b.slept)
}

// hangingResolver records the time until its context's deadline, and fails.
type hangingResolver struct{ left time.Duration }

func (h *hangingResolver) Resolve(ctx context.Context, _ map[string]string) (map[string][]byte, error) {
	deadline, _ := ctx.Deadline()
	h.left = time.Until(deadline)
	return nil, fault.New(fault.Malformed, "no more")
}

func TestAContainerThatCountsAsReadyHasNoTimeForAnAttemptThatHangs(t *testing.T) {
	for setting, bounded := range map[string]bool{"ENV_INJECTOR_DEFAULT_TIMEOUT=10s": true, "ENV_INJECTOR_TIMEOUT=10s": false} {
		h := &hangingResolver{}
		b := newFixture(t, reference, setting)
		b.config.NewResolver = func() (injector.Resolver, error) { return h, nil }
		assert.Equal(t, 65, b.run())
		assert.Equal(t, bounded, h.left > 0 && h.left <= 10*time.Second, setting)
	}
}

func TestAnObjectThatIsCreatedLaterIsFound(t *testing.T) {
	b := newFixture(t, reference)
	b.failAttempts(3, notCreatedYet())
	b.run()
	assert.Len(t, b.slept, 3)
	assert.NotEmpty(t, b.path)
	b = newFixture(t, reference, "ENV_INJECTOR_RETRIES=2")
	b.run()
	assert.Len(t, b.asked, 1, "what was answered is not asked again")
}

func TestStoppedWhileWaiting(t *testing.T) {
	b := newFixture(t, reference)
	b.failAttempts(1, notCreatedYet())
	b.config.Sleep = func(context.Context, time.Duration) error { return context.Canceled }
	assert.Equal(t, 75, b.run())
}
