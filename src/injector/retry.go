package injector

import (
	"context"
	"strconv"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// patience is how long and how often to ask again.
type patience struct {
	// outage bounds the time of asking again while the vault or the broker is away.
	outage time.Duration
	// retries bounds how often else is asked again, first after wait, which doubles.
	retries int
	wait    time.Duration
}

// Waits during an outage.
const (
	firstOutageWait   = 250 * time.Millisecond
	longestOutageWait = 5 * time.Second
)

// patienceOf reads the settings. One that can't be read is fault.Invalid and names the variable.
func patienceOf(environ []string) (patience, error) {
	p := patience{outage: time.Minute, retries: 3, wait: 3 * time.Second}
	var err error
	if text := valueOf(environ, wire.EnvTimeout); text != "" {
		if p.outage, err = time.ParseDuration(text); err != nil || p.outage < 0 {
			return p, fault.New(fault.Invalid, "%s is no duration; write for example 60s", wire.EnvTimeout)
		}
	}
	if text := valueOf(environ, wire.EnvRetries); text != "" {
		if p.retries, err = strconv.Atoi(text); err != nil || p.retries < 0 {
			return p, fault.New(fault.Invalid, "%s is no number; write for example 3", wire.EnvRetries)
		}
	}
	if text := valueOf(environ, wire.EnvWait); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			return p, fault.New(fault.Invalid, "%s is no number of seconds; write for example 3", wire.EnvWait)
		}
		p.wait = time.Duration(seconds) * time.Second
	}
	return p, nil
}

// resolve asks until there is an answer or patience ends.
func (c Config) resolve(ctx context.Context, references map[string]string) (map[string][]byte, error) {
	p, err := patienceOf(c.Environ)
	if err != nil {
		return nil, err
	}
	resolver, err := c.Resolver()
	if err != nil {
		return nil, err
	}
	started, outageWait := c.Clock(), firstOutageWait
	for {
		values, err := resolver.Resolve(ctx, references)
		if err == nil {
			return values, nil
		}
		var wait time.Duration
		switch kind := fault.KindOf(err); {
		case kind == fault.Invalid, kind == fault.Malformed, kind == fault.Bug:
			return nil, err
		case kind.Transient():
			wait = max(outageWait, fault.RetryAfter(err))
			if c.Clock().Sub(started)+wait > p.outage {
				return nil, err
			}
			outageWait = min(2*outageWait, longestOutageWait)
		case p.retries == 0:
			return nil, err
		default:
			wait = p.wait
			p.retries, p.wait = p.retries-1, 2*p.wait
		}
		c.Log.Info("asking again", "after", wait.String(), "reason", fault.KindOf(err).Reason(), "error", err.Error())
		if c.Sleep(ctx, wait) != nil {
			return nil, fault.New(fault.Unavailable, "stopped while waiting for values")
		}
	}
}
