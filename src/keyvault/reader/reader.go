package reader

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/governor"
)

// negativeLife is how long a refusal is shared, so that a crash-looping pod can't hammer a vault and a repair is seen
// soon.
const negativeLife = 10 * time.Second

// pinnedLife is how old a pinned version may be that a pod gets: its value never changes, but it may be disabled, or
// access be taken away.
const pinnedLife = 30 * time.Second

// Fetcher calls the vault. Its errors are classified by package fault.
type Fetcher interface {
	Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)
}

// Where an answer comes from: a call of one's own, a call that somebody else had made already, memory, and memory that
// a list of the vault confirmed.
const (
	fromVault  = "vault"
	fromFlight = "shared"
	fromMemory = "memory"
	fromList   = "list"
	// fromFallback is a call of another vault, because the one that was meant is not available.
	fromFallback = "fallback"
)

// Observer is told what becomes of reads.
type Observer interface {
	// Answered is told of each read: where the answer came from (vault, fallback, shared, memory, list), and the error
	// if it is one.
	Answered(ref keyvault.Ref, from string, err error)
	// Detects is told that changes of a list's objects are found otherwise now: by list or get; was is empty at first.
	Detects(list keyvault.Ref, was, is string)
	// Refused is told, once, that a list can't be had, and how long it is not asked for.
	Refused(list keyvault.Ref, err error, wait time.Duration)
}

// Config is what a Reader works with; every field but Fallbacks, Observer and Changed is required.
type Config struct {
	Fetcher Fetcher
	// Clock tells the time.
	Clock func() time.Time
	// Parallel is the most calls at once of one identity at one vault, for each priority.
	Parallel int
	// PerNamespace is the most of these that one namespace has; zero for all of them.
	PerNamespace int
	// Timeout bounds one call, also when those who wait for it are more patient.
	Timeout time.Duration
	// Keep is how long an answer stays in memory; at least as long as the largest maxAge. What is looked at again stays
	// longer.
	Keep time.Duration
	// Entries is the most answers in memory, and Bytes the most that they take.
	Entries, Bytes int
	// Fallbacks are vaults that are read while another one is not available, by the other's name; may be nil.
	Fallbacks map[string]string
	Observer  Observer
	// Changed is told of objects that a list has otherwise than memory; may be nil.
	Changed func(ref keyvault.Ref)
}

// Reader reads objects. It is safe for concurrent use.
type Reader struct {
	config Config
	doors  doors

	mu      sync.Mutex
	flights map[keyvault.Ref]*flight
	memory  memory
	// censuses are by list.
	censuses map[keyvault.Ref]*census
	// sweeper runs while there is something in memory.
	sweeper *time.Timer
}

// flight is a call on its way.
type flight struct {
	answer
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	call    *governor.Call
}

// New checks the configuration.
func New(c Config) (*Reader, error) {
	if c.Fetcher == nil || c.Clock == nil || c.Parallel < 1 || c.Timeout <= 0 || c.Keep <= 0 || c.Entries < 1 ||
		c.Bytes < 1 {
		return nil, errors.New("creating the reader: a part of its configuration is missing")
	}
	return &Reader{config: c, flights: map[keyvault.Ref]*flight{}, censuses: map[keyvault.Ref]*census{},
		doors: doors{clock: c.Clock, parallel: c.Parallel, share: cmp.Or(c.PerNamespace, c.Parallel),
			timeout: c.Timeout, parties: map[party]*door{}},
		memory: memory{entries: c.Entries, bytes: c.Bytes, keep: c.Keep, known: map[keyvault.Ref]*list.Element{}}}, nil
}

// Read gives the object as the vault had it at most maxAge ago. Readers of one object share a call that is on its way
// if it began within maxAge; with 0 everybody asks for himself. A shared call ends when nobody waits for it any more.
// What the read is for is the context's Purpose.
func (r *Reader) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	a, from := r.look(ctx, ref, maxAge)
	if from == fromVault && a.object.Fallback != "" {
		from = fromFallback
	}
	if r.config.Observer != nil {
		r.config.Observer.Answered(ref, from, a.err)
	}
	return a.object, a.err
}

func (r *Reader) ask(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (answer, string) {
	purpose, from := keyvault.PurposeOf(ctx), fromFlight
	r.mu.Lock()
	if known, ok := r.memory.get(ref); ok && r.usable(known, maxAge, purpose) {
		given := *known
		given.object = known.copied()
		r.mu.Unlock()
		return given, fromMemory
	}
	f, ok := r.flights[ref]
	if !ok || r.config.Clock().Sub(f.asked) >= maxAge {
		f, from = r.launch(ctx, ref), fromVault
	}
	f.call.Raise(purpose.Priority)
	f.waiters++
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.answer, from
	case <-ctx.Done():
		r.leave(ref, f)
		return answer{err: &fault.Error{Kind: fault.Unavailable, Doing: "reading " + ref.String(),
				Cause: errors.New("no answer in time"),
				Next:  "it is tried again; if it goes on, check network policies, proxies and the route to the vault"}},
			from
	}
}

// usable says whether a remembered answer may be given; the caller holds mu.
func (r *Reader) usable(a *answer, maxAge time.Duration, p keyvault.Purpose) bool {
	age := r.config.Clock().Sub(a.asOf())
	switch {
	case a.err != nil:
		maxAge = min(maxAge, negativeLife)
	case a.ref.Version != "" && p.Priority == keyvault.PodStart && maxAge > 0:
		maxAge = max(maxAge, pinnedLife)
	}
	return age < maxAge
}

// launch starts a call; the caller holds mu. The call has the values of the first reader's context but not its end.
func (r *Reader) launch(ctx context.Context, ref keyvault.Ref) *flight {
	call, ctx := governor.NewCall(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	f := &flight{done: make(chan struct{}), cancel: cancel, call: call,
		answer: answer{ref: ref, asked: r.config.Clock(), every: keyvault.PurposeOf(ctx).Every}}
	r.flights[ref] = f
	go func() {
		defer cancel()
		object, err := r.fetch(ctx, ref)
		r.land(f, object, err)
	}()
	return f
}

// fetch reads the vault that is meant, and if that is not available the one that stands in for it. What a list says is
// of one vault alone.
func (r *Reader) fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind.Listed() != "" {
		return r.fetchList(ctx, ref)
	}
	second := ref
	second.Vault = r.config.Fallbacks[ref.Vault]
	if second.Vault == "" {
		return r.call(ctx, ref)
	}
	first, cancel := context.WithTimeout(ctx, r.config.Timeout*3/5) // so that there is time for the second
	object, err := r.call(first, ref)
	cancel()
	if fault.KindOf(err) != fault.Unavailable {
		return object, err
	}
	object, other := r.call(ctx, second)
	if other != nil {
		return keyvault.Object{}, err // what is wrong with the one that is meant
	}
	object.Ref, object.Fallback = ref, second.Vault
	return object, nil
}

// fetchList reads a list, and once more if it lacks what the last one had: only what two lists in a row lack is gone. A
// list that something in between cut short must not take keys out of Secrets.
func (r *Reader) fetchList(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	list, err := r.call(ctx, ref)
	if err != nil || !r.lacks(list) {
		return list, err
	}
	again, err := r.call(ctx, ref)
	if err != nil {
		return keyvault.Object{}, err
	}
	in := make(map[string]bool, len(again.Entries))
	for _, e := range again.Entries {
		in[strings.ToLower(e.Name)] = true
	}
	for _, e := range list.Entries {
		if !in[strings.ToLower(e.Name)] {
			again.Entries = append(again.Entries, e)
		}
	}
	return again, nil
}

// lacks says whether a list is without an entry of the one that is remembered.
func (r *Reader) lacks(list keyvault.Object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.memory.get(list.Ref)
	if !ok || known.err != nil {
		return false
	}
	in := make(map[string]bool, len(list.Entries))
	for _, e := range list.Entries {
		in[strings.ToLower(e.Name)] = true
	}
	for name := range known.index {
		if !in[name] {
			return true
		}
	}
	return false
}

func (r *Reader) call(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	leave, err := r.doors.enter(ctx, ref)
	if err != nil {
		return keyvault.Object{}, &fault.Error{Kind: fault.KindOf(err), Doing: "reading " + ref.String(),
			RetryAfter: fault.RetryAfter(err), Cause: err}
	}
	object, err := r.config.Fetcher.Fetch(ctx, ref)
	leave(err)
	return object, err
}

// land remembers an answer and wakes those who wait for it.
func (r *Reader) land(f *flight, object keyvault.Object, err error) {
	var changed []keyvault.Ref
	r.mu.Lock()
	f.object, f.err = object, err
	if f.ref.Kind.Listed() != "" {
		changed = r.listed(&f.answer)
	}
	if err == nil && f.every > 0 && f.ref.Version == "" && f.ref.Kind.List() != "" {
		r.watch(f.ref, f.every)
	}
	if r.flights[f.ref] == f {
		delete(r.flights, f.ref)
	}
	// An older call that lands late must not hide what a younger one brought.
	if known, ok := r.memory.get(f.ref); !ok || !known.asked.After(f.asked) {
		r.memory.put(f.answer)
		r.sweepLater()
	}
	close(f.done)
	r.mu.Unlock()
	for _, ref := range changed {
		if r.config.Changed != nil {
			r.config.Changed(ref)
		}
	}
}

// sweepLater keeps what is in memory from staying there when nobody reads any more; the caller holds mu.
func (r *Reader) sweepLater() {
	if r.sweeper != nil || r.memory.order.Len()+len(r.censuses) == 0 {
		return
	}
	r.sweeper = time.AfterFunc(max(r.config.Keep/2, time.Second), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sweeper = nil
		now := r.config.Clock()
		r.memory.sweep(now)
		maps.DeleteFunc(r.censuses, func(_ keyvault.Ref, c *census) bool { return c.sweep(now) })
		r.sweepLater()
	})
}

// Last gives the last good answer if it is not older than age; for the time in which a vault can't be asked.
func (r *Reader) Last(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.memory.get(ref)
	if !ok || known.err != nil || r.config.Clock().Sub(known.asOf()) > age {
		return keyvault.Object{}, false
	}
	return known.copied(), true
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
