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

// party is one identity at one vault. What does not answer, be it the vault or the identity's own service, is waited
// for by its own calls alone.
type party struct {
	vault string
	as    keyvault.Identity
}

// doors let calls in, as many of each party and priority as are allowed.
type doors struct {
	clock    func() time.Time
	parallel int
	// share is the most of these that one namespace has.
	share   int
	timeout time.Duration

	mu      sync.Mutex
	parties map[party]*door
}

// door is one party's.
type door struct {
	slots [keyvault.PodStart + 1]*slots
	users int
	// silences are the calls in a row that took all of their time; after some of them, nobody is let in until again,
	// and then one call to see.
	silences int
	again    time.Time
	trying   bool
	// closings are how often it was closed since it was open, and closed is when it was last.
	closings int
	closed   time.Time
	// said is what the last of them said.
	said error
}

const (
	// patience is how long a call waits for a place; then it comes back later, so that whoever makes it can do
	// something else.
	patience = 2 * time.Second
	// silent is how many silences close a door.
	silent = 3
	// firstSilence is how long it is closed at first; that doubles up to longestSilence.
	firstSilence, longestSilence = 2 * time.Second, 30 * time.Second
)

// enter lets a call in. leave is told how it ended.
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

// outcome is how a call ended.
type outcome struct {
	err    error
	took   time.Duration
	trying bool
}

// open finds a party's door, or says that it is closed.
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

// closed says why, as the last call did.
func closed(said error, rest time.Duration) error {
	e := &fault.Error{Kind: fault.Unavailable, Doing: "waiting for an answer to earlier calls", RetryAfter: rest,
		Cause: said}
	var last *fault.Error
	if errors.As(said, &last) && last.Cause != nil {
		e.Cause, e.Next = last.Cause, last.Next
	}
	return e
}

// close closes a door for a time. Calls that were on their way then do not close it once more: many at once may have
// waited for one connection.
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
	case governor.PutOff(o.err): // it says nothing of the vault
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
