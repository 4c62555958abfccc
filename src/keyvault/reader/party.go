package reader

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/governor"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// party is the key of a circuit breaker: one identity at one vault. A vault or identity that does not respond delays
// only its own calls.
type party struct {
	vault string
	as    keyvault.Identity
}

// doors holds the circuit breakers, and limits the concurrent calls by identity, vault and priority.
type doors struct {
	clock    func() time.Time
	parallel int
	// share limits the calls of one namespace among them.
	share   int
	timeout time.Duration

	mu      sync.Mutex
	parties map[party]*door
}

// door is the circuit breaker of one identity at one vault.
type door struct {
	slots [keyvault.PodStart + 1]*slots
	users int
	// silences counts consecutive timeouts. After timeoutsToTrip of them, calls are rejected until retryAt, and then
	// one probe is let through.
	silences int
	again    time.Time
	trying   bool
	// closings counts the trips since the last success; trippedAt is the time of the last trip.
	closings int
	closed   time.Time
	// said is the error of the last timeout.
	said error
}

const (
	// patience is how long a call waits for a slot. A call that gets none is deferred, so its caller can do other work.
	patience = 2 * time.Second
	// silent is the number of consecutive timeouts that trip the breaker.
	silent = 3
	// firstSilence is how long calls are rejected after the first trip. Each further trip doubles the time, up to
	// maxOpenTime.
	firstSilence, longestSilence = 2 * time.Second, 30 * time.Second
)

// enter admits a call when the breaker allows it and a slot is free. The caller passes the result of the call to leave.
func (d *doors) enter(ctx context.Context, ref keyvault.Ref) (leave func(error), err error) {
	key, purpose := party{ref.Vault, ref.As}, keyvault.PurposeOf(ctx)
	at, trying, err := d.open(key)
	if err != nil {
		return nil, err
	}
	places := at.slots[purpose.Priority]
	if !places.acquire(ctx, purpose.Namespace) {
		err = governor.Busy(ref.Vault, patience)
		d.leave(key, at, outcome{err: err, trying: trying})
		return nil, err
	}
	began := d.clock()
	return func(err error) {
		places.release(purpose.Namespace)
		d.leave(key, at, outcome{err: err, trying: trying, took: d.clock().Sub(began)})
	}, nil
}

// outcome describes how a call ended.
type outcome struct {
	err    error
	took   time.Duration
	trying bool
}

// open returns the breaker for key, or the error with which it rejects the call. trying reports that the call is a
// probe.
func (d *doors) open(key party) (at *door, trying bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.parties[key]
	if !ok {
		at = d.build(key)
	}
	if at.silences >= silent {
		if rest := at.again.Sub(d.clock()); rest > 0 || at.trying {
			return nil, false, closed(at.said, max(rest, firstSilence))
		}
		at.trying, trying = true, true
	}
	at.users++
	return at, trying, nil
}

func (d *doors) build(key party) *door {
	if len(d.parties) >= limits.BreakerKeys {
		maps.DeleteFunc(d.parties, func(_ party, at *door) bool { return at.users == 0 })
	}
	at := &door{}
	for p := range at.slots {
		at.slots[p] = &slots{free: d.parallel, share: d.share, held: map[string]int{}}
	}
	d.parties[key] = at
	return at
}

// closed returns the error of a rejected call. It has the cause and the advice of the last timeout.
func closed(said error, rest time.Duration) error {
	e := &fault.Error{Kind: fault.Unavailable, Doing: "pausing calls after repeated timeouts", RetryAfter: rest,
		Cause: said}
	var last *fault.Error
	if errors.As(said, &last) && last.Cause != nil {
		e.Cause, e.Next = last.Cause, last.Next
	}
	return e
}

// close trips the breaker. Calls that began before a trip do not trip it again: many calls can wait for one connection.
func (at *door) close(now time.Time) {
	at.again = now.Add(min(firstSilence<<min(at.closings, 4), longestSilence))
	at.closings, at.closed = at.closings+1, now
}

func (d *doors) leave(key party, at *door, o outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at.users--
	if o.trying {
		at.trying = false
	}
	switch {
	case governor.PutOff(o.err): // the vault was not called
	case fault.KindOf(o.err) == fault.Unavailable && o.took >= d.timeout/2:
		at.silences, at.said = at.silences+1, o.err
		if now := d.clock(); at.silences >= silent && !now.Add(-o.took).Before(at.closed) {
			at.close(now)
		}
	default:
		at.silences, at.closings, at.closed = 0, 0, time.Time{}
	}
	if at.users == 0 && at.silences == 0 {
		delete(d.parties, key)
	}
}
