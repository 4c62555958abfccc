package reader

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// negativeLife is how long a refusal is shared, so that a crash-looping pod can't hammer a vault and a repair is seen soon.
const negativeLife = 10 * time.Second

// Fetcher calls the vault. Its errors are classified by package fault.
type Fetcher interface {
	Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)
}

// Config is what a Reader works with; every field is required.
type Config struct {
	Fetcher Fetcher
	// Clock tells the time.
	Clock func() time.Time
	// Parallel is the most calls at once.
	Parallel int
	// Timeout bounds one call, also when those who wait for it are more patient.
	Timeout time.Duration
	// Keep is how long an answer stays in memory; at least as long as the largest maxAge.
	Keep time.Duration
	// Entries is the most answers in memory.
	Entries int
}

// Reader reads objects. It is safe for concurrent use.
type Reader struct {
	config Config
	slots  chan struct{}

	mu      sync.Mutex
	flights map[keyvault.Ref]*flight
	answers map[keyvault.Ref]answer
	// swept is when too old answers were last dropped.
	swept time.Time
}

// answer is what the vault said, and when it was asked.
type answer struct {
	object keyvault.Object
	err    error
	asked  time.Time
}

// flight is a call on its way.
type flight struct {
	answer
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
}

// New checks the configuration.
func New(c Config) (*Reader, error) {
	if c.Fetcher == nil || c.Clock == nil || c.Parallel < 1 || c.Timeout <= 0 || c.Keep <= 0 || c.Entries < 1 {
		return nil, errors.New("creating the reader: a part of its configuration is missing")
	}
	return &Reader{config: c, slots: make(chan struct{}, c.Parallel), flights: map[keyvault.Ref]*flight{}, answers: map[keyvault.Ref]answer{}}, nil
}

// Read gives the object as the vault had it at most maxAge ago. Readers of one object share a call that is on its way if it began
// within maxAge; with 0 everybody asks for himself. A shared call ends when nobody waits for it any more.
func (r *Reader) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	r.mu.Lock()
	if known, ok := r.answers[ref]; ok && r.usable(known, maxAge) {
		r.mu.Unlock()
		return known.object, known.err
	}
	f, ok := r.flights[ref]
	if !ok || r.config.Clock().Sub(f.asked) >= maxAge {
		f = r.launch(ctx, ref)
	}
	f.waiters++
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.object, f.err
	case <-ctx.Done():
		r.leave(ref, f)
		return keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Doing: "reading " + ref.String(),
			Cause: errors.New("no answer in time")}
	}
}

// usable says whether a remembered answer may be given; the caller holds mu.
func (r *Reader) usable(a answer, maxAge time.Duration) bool {
	age := r.config.Clock().Sub(a.asked)
	if a.err != nil {
		maxAge = min(maxAge, negativeLife)
	}
	return age < maxAge
}

// launch starts a call; the caller holds mu. The call has the values of the first reader's context but not its end.
func (r *Reader) launch(ctx context.Context, ref keyvault.Ref) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.config.Timeout)
	f := &flight{done: make(chan struct{}), cancel: cancel, answer: answer{asked: r.config.Clock()}}
	r.flights[ref] = f
	go func() {
		defer cancel()
		object, err := r.fetch(ctx, ref)
		r.land(ref, f, object, err)
	}()
	return f
}

func (r *Reader) fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
		return r.config.Fetcher.Fetch(ctx, ref)
	case <-ctx.Done():
		return keyvault.Object{}, &fault.Error{Kind: fault.Unavailable, Doing: "reading " + ref.String(),
			Cause: errors.New("too many calls are on their way")}
	}
}

// land remembers an answer and wakes those who wait for it.
func (r *Reader) land(ref keyvault.Ref, f *flight, object keyvault.Object, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.object, f.err = object, err
	if r.flights[ref] == f {
		delete(r.flights, ref)
	}
	// An older call that lands late must not hide what a younger one brought.
	if known, ok := r.answers[ref]; !ok || !known.asked.After(f.asked) {
		r.remember(ref, f.answer)
	}
	close(f.done)
}

// remember keeps what may be shared; the caller holds mu. A refusal takes the place of a good answer: whoever lost access must not
// be served from memory.
func (r *Reader) remember(ref keyvault.Ref, a answer) {
	switch fault.KindOf(a.err) {
	case "", fault.NotFound, fault.Denied, fault.Disabled:
		r.answers[ref] = a
	case fault.Unauthenticated:
		delete(r.answers, ref)
	}
	r.sweep()
}

// sweep drops what is too old, and the oldest of what is too much; the caller holds mu.
func (r *Reader) sweep() {
	now := r.config.Clock()
	if len(r.answers) <= r.config.Entries && now.Sub(r.swept) < r.config.Keep/2 {
		return
	}
	r.swept = now
	var oldest keyvault.Ref
	var since time.Time
	for ref, a := range r.answers {
		if now.Sub(a.asked) > r.config.Keep {
			delete(r.answers, ref)
		} else if since.IsZero() || a.asked.Before(since) {
			oldest, since = ref, a.asked
		}
	}
	if len(r.answers) > r.config.Entries {
		delete(r.answers, oldest)
	}
}

// Last gives the last good answer if it is not older than age; for the time in which a vault can't be asked.
func (r *Reader) Last(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.answers[ref]
	if !ok || known.err != nil || r.config.Clock().Sub(known.asked) > age {
		return keyvault.Object{}, false
	}
	return known.object, true
}

func (r *Reader) leave(ref keyvault.Ref, f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		if r.flights[ref] == f {
			delete(r.flights, ref) // whoever comes now needs a call of his own
		}
	}
}
