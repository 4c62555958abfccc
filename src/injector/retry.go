package injector

import (
	"context"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// retryPolicy limits how long and how often requests are retried.
type retryPolicy struct {
	// outageTimeout limits the time of retries of errors that can end without a change by the user: the vault or the
	// auth service is unavailable, or the AzureKeyVaultSecret does not exist yet.
	outageTimeout time.Duration
	// limitsAttempts limits running attempts to that time, too, because the container can count as ready while it
	// waits.
	limitsAttempts bool
	// retriesLeft limits the retries of all other errors, which only a user can repair.
	retriesLeft int
	// nextPause is the wait before the next of those retries. It doubles each time.
	nextPause time.Duration
	// isUserConfigured is set if the user configured retries.
	isUserConfigured bool
	// nextMaxWait is the maximum of the next wait for an error that can end without a change. It doubles each time.
	nextMaxWait time.Duration
	// maxWait is the maximum of all those waits.
	maxWait time.Duration
}

const (
	// firstMaxWait is the maximum of the first wait.
	firstMaxWait = 250 * time.Millisecond
	// containerMaxWait is the maximum of later waits in a container, whose start users notice.
	containerMaxWait = 5 * time.Second
	// initContainerMaxWait is the same for init containers, of which hundreds can wait for minutes.
	initContainerMaxWait = 15 * time.Second
	// defaultRetries and defaultPause are the defaults of v1, for users who set one of its two variables.
	defaultRetries = 3
	defaultPause   = 3 * time.Second
)

// readRetryPolicy reads the retry settings from the environment. The error for an invalid one is fault.Invalid and
// names the variable.
func readRetryPolicy(environ []string) (retryPolicy, error) {
	p := retryPolicy{outageTimeout: limits.WaitWithoutRestart, nextPause: defaultPause,
		nextMaxWait: firstMaxWait, maxWait: containerMaxWait}
	for _, name := range []string{wire.EnvDefaultTimeout, wire.EnvTimeout} { // the user's setting overrides
		text := valueOf(environ, name)
		if text == "" {
			continue
		}
		var err error
		if p.outageTimeout, err = time.ParseDuration(text); err != nil || p.outageTimeout < 0 {
			return p, fault.New(fault.Invalid, "%s is not a duration; write for example 60s", name)
		}
		p.limitsAttempts = name == wire.EnvDefaultTimeout
	}
	return p, p.readRetrySettings(environ)
}

// readRetrySettings reads the two retry variables, which have the same names in v1.
func (p *retryPolicy) readRetrySettings(environ []string) error {
	pause := valueOf(environ, wire.EnvWaitBeforeRetry)
	if pause != "" {
		seconds, err := strconv.Atoi(pause)
		if err != nil || seconds < 0 {
			return fault.New(fault.Invalid, "%s is not a number of seconds; write for example 3",
				wire.EnvWaitBeforeRetry)
		}
		p.nextPause = time.Duration(min(seconds, int(limits.RetryWait/time.Second))) * time.Second
		p.isUserConfigured, p.retriesLeft = true, defaultRetries
	}
	if text := valueOf(environ, wire.EnvRetries); text != "" {
		var err error
		if p.retriesLeft, err = strconv.Atoi(text); err != nil || p.retriesLeft < 0 {
			return fault.New(fault.Invalid, "%s is not a number; write for example 3", wire.EnvRetries)
		}
		p.isUserConfigured = true
	}
	return nil
}

// nextWait returns the wait before the next attempt, after an attempt that failed with err. left is the time until the
// deadline. False ends the attempts.
func (p *retryPolicy) nextWait(err error, left time.Duration,
	jitter func(time.Duration) time.Duration) (time.Duration, bool) {
	switch kind := fault.KindOf(err); {
	case kind == fault.Invalid, kind == fault.Malformed, kind == fault.Bug:
		return 0, false
	case kind.IsTransient(), fault.CanAppearLater(err) && !p.isUserConfigured:
		return p.nextOutageWait(fault.RetryAfter(err), left, jitter)
	case p.retriesLeft == 0:
		return 0, false
	}
	// Jitter only adds: the wait is never shorter than the user configured.
	wait := p.nextPause + jitter(p.nextPause/2)
	p.retriesLeft, p.nextPause = p.retriesLeft-1, min(2*p.nextPause, limits.RetryWait)
	return wait, true
}

// nextOutageWait returns a wait with full jitter, so that pods that failed together don't retry together. The wait is
// not shorter than the server asked for, and ends at the deadline at the latest.
func (p *retryPolicy) nextOutageWait(asked, left time.Duration,
	jitter func(time.Duration) time.Duration) (time.Duration, bool) {
	asked = min(max(asked, 0), limits.InjectorRetryAfter)
	if left <= 0 || asked > left {
		return 0, false
	}
	wait := min(asked+jitter(p.nextMaxWait), left)
	p.nextMaxWait = min(2*p.nextMaxWait, p.maxWait)
	return wait, true
}

// retryAttempts repeats an attempt until it succeeds or p ends the attempts.
func (c Config) retryAttempts(ctx context.Context, p retryPolicy, attempt func(context.Context) error) error {
	deadline := c.Clock().Add(p.outageTimeout)
	for {
		err := p.runAttempt(ctx, deadline.Sub(c.Clock()), attempt)
		if err == nil {
			return nil
		}
		wait, again := p.nextWait(err, deadline.Sub(c.Clock()), c.Jitter)
		if !again {
			return err
		}
		c.Log.Info("retrying", logkey.RetryIn, wait.Round(time.Millisecond).String(), logkey.Reason,
			fault.KindOf(err).Reason(), logkey.Error, err.Error())
		if c.Sleep(ctx, wait) != nil {
			return fault.New(fault.Unavailable, "stopped while waiting for values")
		}
	}
}

// minAttemptTime is the minimum time for an attempt, even if less is left.
const minAttemptTime = time.Second

// runAttempt runs an attempt. If p is strict, the attempt ends at the deadline.
func (p *retryPolicy) runAttempt(ctx context.Context, left time.Duration, attempt func(context.Context) error) error {
	if p.limitsAttempts {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(left, minAttemptTime))
		defer cancel()
	}
	return attempt(ctx)
}

// resolveReferences resolves the references, with retries. maxWait limits the wait between two of them.
func (c Config) resolveReferences(ctx context.Context, references map[string]string,
	maxWait time.Duration) (map[string][]byte, error) {
	p, err := readRetryPolicy(c.Environ)
	if err != nil {
		return nil, err
	}
	p.maxWait = maxWait
	resolver, err := c.NewResolver()
	if err != nil {
		return nil, err
	}
	var values map[string][]byte
	err = c.retryAttempts(ctx, p, func(ctx context.Context) error {
		var err error
		values, err = resolver.Resolve(ctx, references)
		return err
	})
	return values, err
}
