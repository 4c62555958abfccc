package injector

import (
	"context"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// patience limits how long and how often requests are retried.
type patience struct {
	// wait limits the time of retries of errors that can end without a change by the user: the vault or the
	// auth service is unavailable, or the AzureKeyVaultSecret does not exist yet.
	wait time.Duration
	// strict limits running attempts to that time, too, because the container can count as ready while it
	// waits.
	strict bool
	// retries limits the retries of all other errors, which only a user can repair.
	retries int
	// pause is the wait before the next of those retries. It doubles each time.
	pause time.Duration
	// configured is set if the user configured retries.
	configured bool
	// ceiling is the maximum of the next wait for an error that can end without a change. It doubles each time.
	ceiling time.Duration
	// highest is the maximum of all those waits.
	highest time.Duration
}

const (
	// firstCeiling is the maximum of the first wait.
	firstCeiling = 250 * time.Millisecond
	// highestCeiling is the maximum of later waits in a container, whose start users notice.
	highestCeiling = 5 * time.Second
	// highestInitCeiling is the same for init containers, of which hundreds can wait for minutes.
	highestInitCeiling = 15 * time.Second
	// defaultRetries and defaultPause are the defaults of v1, for users who set one of its two variables.
	defaultRetries = 3
	defaultPause   = 3 * time.Second
)

// patienceOf reads the retry settings from the environment. The error for an invalid one is fault.Invalid and
// names the variable.
func patienceOf(environ []string) (patience, error) {
	p := patience{wait: limits.WaitWithoutRestart, pause: defaultPause,
		ceiling: firstCeiling, highest: highestCeiling}
	for _, name := range []string{wire.EnvDefaultTimeout, wire.EnvTimeout} { // the user's setting overrides
		text := valueOf(environ, name)
		if text == "" {
			continue
		}
		var err error
		if p.wait, err = time.ParseDuration(text); err != nil || p.wait < 0 {
			return p, fault.New(fault.Invalid, "%s is not a duration; write for example 60s", name)
		}
		p.strict = name == wire.EnvDefaultTimeout
	}
	return p, p.readRetries(environ)
}

// readRetries reads the two retry variables of v1.
func (p *patience) readRetries(environ []string) error {
	pause := valueOf(environ, wire.EnvWait)
	if pause != "" {
		seconds, err := strconv.Atoi(pause)
		if err != nil || seconds < 0 {
			return fault.New(fault.Invalid, "%s is not a number of seconds; write for example 3", wire.EnvWait)
		}
		p.pause = time.Duration(min(seconds, int(limits.RetryWait/time.Second))) * time.Second
		p.configured, p.retries = true, defaultRetries
	}
	if text := valueOf(environ, wire.EnvRetries); text != "" {
		var err error
		if p.retries, err = strconv.Atoi(text); err != nil || p.retries < 0 {
			return fault.New(fault.Invalid, "%s is not a number; write for example 3", wire.EnvRetries)
		}
		p.configured = true
	}
	return nil
}

// next returns the wait before the next attempt, after an attempt that failed with err. left is the time until the
// deadline. False ends the attempts.
func (p *patience) next(err error, left time.Duration,
	jitter func(time.Duration) time.Duration) (time.Duration, bool) {
	switch kind := fault.KindOf(err); {
	case kind == fault.Invalid, kind == fault.Malformed, kind == fault.Bug:
		return 0, false
	case kind.Transient(), fault.MayComeLater(err) && !p.configured:
		return p.nextOfOutage(fault.RetryAfter(err), left, jitter)
	case p.retries == 0:
		return 0, false
	}
	// Jitter only adds: the wait is never shorter than the user configured.
	wait := p.pause + jitter(p.pause/2)
	p.retries, p.pause = p.retries-1, min(2*p.pause, limits.RetryWait)
	return wait, true
}

// nextOfOutage returns a wait with full jitter, so that pods that failed together don't retry together. The wait is
// not shorter than the server asked for, and ends at the deadline at the latest.
func (p *patience) nextOfOutage(asked, left time.Duration,
	jitter func(time.Duration) time.Duration) (time.Duration, bool) {
	asked = min(max(asked, 0), limits.RetryAfterTime)
	if left <= 0 || asked > left {
		return 0, false
	}
	wait := min(asked+jitter(p.ceiling), left)
	p.ceiling = min(2*p.ceiling, p.highest)
	return wait, true
}

// retry repeats an attempt until it succeeds or p ends the attempts.
func (c Config) retry(ctx context.Context, p patience, attempt func(context.Context) error) error {
	deadline := c.Clock().Add(p.wait)
	for {
		err := p.bound(ctx, deadline.Sub(c.Clock()), attempt)
		if err == nil {
			return nil
		}
		wait, again := p.next(err, deadline.Sub(c.Clock()), c.Jitter)
		if !again {
			return err
		}
		c.Log.Info("retrying", "after", wait.Round(time.Millisecond).String(), "reason", fault.KindOf(err).Reason(),
			"error", err.Error())
		if c.Sleep(ctx, wait) != nil {
			return fault.New(fault.Unavailable, "stopped while waiting for values")
		}
	}
}

// shortest is the minimum time for an attempt, even if less is left.
const shortest = time.Second

// bound runs an attempt. If p is strict, the attempt ends at the deadline.
func (p *patience) bound(ctx context.Context, left time.Duration, attempt func(context.Context) error) error {
	if p.strict {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(left, shortest))
		defer cancel()
	}
	return attempt(ctx)
}

// resolve resolves the references, with retries.
func (c Config) resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	p, err := patienceOf(c.Environ)
	if err != nil {
		return nil, err
	}
	resolver, err := c.Resolver()
	if err != nil {
		return nil, err
	}
	var values map[string][]byte
	err = c.retry(ctx, p, func(ctx context.Context) error {
		var err error
		values, err = resolver.Resolve(ctx, references)
		return err
	})
	return values, err
}
