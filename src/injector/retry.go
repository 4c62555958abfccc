package injector

import (
	"context"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// patience says how long and how often to retry.
type patience struct {
	// wait bounds the time of retries of what can get better by itself: the vault or the auth service is away, or the
	// AzureKeyVaultSecret does not exist yet.
	wait time.Duration
	// strict says that attempts end with that time too, because the container may count as ready meanwhile.
	strict bool
	// retries bounds the retries of everything else, which only helps where somebody changes something; the first comes
	// after pause, which doubles. configured says that the user asked for them.
	retries    int
	pause      time.Duration
	configured bool
	// ceiling is the most that the next wait may be; it doubles up to highest.
	ceiling, highest time.Duration
}

const (
	// firstCeiling is the bound of the first wait.
	firstCeiling = 250 * time.Millisecond
	// highestCeiling is that of late ones in a container, which somebody waits for.
	highestCeiling = 5 * time.Second
	// highestInitCeiling is the same in the init container, where hundreds of pods may wait for minutes.
	highestInitCeiling = 15 * time.Second
	// defaultRetries and defaultPause are what 1.8 did, for users who set one of the two variables.
	defaultRetries = 3
	defaultPause   = 3 * time.Second
)

// patienceOf reads the settings. One that can't be read is fault.Invalid and names the variable.
func patienceOf(environ []string) (patience, error) {
	p := patience{wait: limits.WaitWithoutRestart, pause: defaultPause, ceiling: firstCeiling, highest: highestCeiling}
	for _, name := range []string{wire.EnvDefaultTimeout, wire.EnvTimeout} { // the user's comes last
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

// readRetries reads the two variables of 1.8.
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

// next is the wait before the next attempt, after one that failed with err when so much time was left; false ends the
// attempts.
func (p *patience) next(err error, left time.Duration, jitter func(time.Duration) time.Duration) (time.Duration, bool) {
	switch kind := fault.KindOf(err); {
	case kind == fault.Invalid, kind == fault.Malformed, kind == fault.Bug:
		return 0, false
	case kind.Transient(), fault.MayComeLater(err) && !p.configured:
		return p.nextOfOutage(fault.RetryAfter(err), left, jitter)
	case p.retries == 0:
		return 0, false
	}
	// Never less than the user asked for.
	wait := p.pause + jitter(p.pause/2)
	p.retries, p.pause = p.retries-1, min(2*p.pause, limits.RetryWait)
	return wait, true
}

// nextOfOutage waits with full jitter, so that pods that failed together don't come back together, and not less than
// the server asked for. The last wait ends with the time that is left.
func (p *patience) nextOfOutage(asked, left time.Duration, jitter func(time.Duration) time.Duration) (time.Duration,
	bool) {
	asked = min(max(asked, 0), limits.RetryAfterTime)
	if left <= 0 || asked > left {
		return 0, false
	}
	wait := min(asked+jitter(p.ceiling), left)
	p.ceiling = min(2*p.ceiling, p.highest)
	return wait, true
}

// retry attempts until there is no error, or patience ends.
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

// shortest is what the last attempt gets, however little time is left.
const shortest = time.Second

// bound ends an attempt with the time that is left, if patience is strict.
func (p *patience) bound(ctx context.Context, left time.Duration, attempt func(context.Context) error) error {
	if p.strict {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(left, shortest))
		defer cancel()
	}
	return attempt(ctx)
}

// resolve asks for the values.
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
