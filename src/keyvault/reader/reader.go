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

// negativeLife is how long a NotFound, Denied or Disabled result is shared. It protects a vault from a crash-looping
// pod, and is short enough that a repair takes effect soon.
const negativeLife = 10 * time.Second

// pinnedLife is the minimum cache age that a pod accepts for a pinned version. The value of a version never changes,
// but the version can be disabled and access can be revoked.
const pinnedLife = 30 * time.Second

// Fetcher fetches an object or a list from a vault. Its errors are classified by package fault.
type Fetcher interface {
	Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)
}

// The sources of a result, as used in metric labels: a new call, an in-flight call of another reader, the cache, and a
// cached result that a list confirmed.
const (
	fromVault  = "vault"
	fromFlight = "shared"
	fromMemory = "memory"
	fromList   = "list"
	// fromFallback is a call to the fallback vault because the vault itself is unavailable.
	fromFallback = "fallback"
)

// Observer observes reads.
type Observer interface {
	// Answered is called after each read with the source of the result (vault, fallback, shared, memory or list), and
	// its error or nil.
	Answered(ref keyvault.Ref, from string, err error)
	// Detects is called when the method that detects changes of a list's objects changes. was and is are list or get;
	// was is empty the first time.
	Detects(list keyvault.Ref, was, is string)
	// Refused is called when a list starts to fail, with the time after which it is requested again. It is not called
	// again before that time.
	Refused(list keyvault.Ref, err error, wait time.Duration)
}

// Config configures a Reader; every field but MaxPerNamespace, Fallbacks, Observer and OnChange is required.
type Config struct {
	Fetcher Fetcher
	// Clock returns the current time.
	Clock func() time.Time
	// Parallel limits the concurrent calls of one identity to one vault, for each priority.
	Parallel int
	// PerNamespace limits how many of these calls one namespace has; zero for no separate limit.
	PerNamespace int
	// Timeout limits one call, even if its waiters have later deadlines.
	Timeout time.Duration
	// Keep is how long a result stays in the cache; at least the largest maxAge. Results of refreshed objects stay
	// longer.
	Keep time.Duration
	// Entries limits the number of cached results, CacheBytes their total size.
	Entries, Bytes int
	// Fallbacks maps a vault to the vault that is read while it is unavailable; can be nil.
	Fallbacks map[string]string
	Observer  Observer
	// Changed is called for each object whose entry in a list differs from the cached result; can be nil.
	Changed func(ref keyvault.Ref)
}

// Reader reads vault objects. It is safe for concurrent use.
type Reader struct {
	config Config
	doors  doors

	mu      sync.Mutex
	flights map[keyvault.Ref]*flight
	memory  memory
	// censuses has the refresh state of each list.
	censuses map[keyvault.Ref]*census
	// sweeper is set while there is state to expire.
	sweeper *time.Timer
}

// flight is an in-flight call.
type flight struct {
	answer
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	call    *governor.Call
}

// New returns a Reader. It fails if the configuration is incomplete.
func New(c Config) (*Reader, error) {
	if c.Fetcher == nil || c.Clock == nil || c.Parallel < 1 || c.Timeout <= 0 || c.Keep <= 0 || c.Entries < 1 ||
		c.Bytes < 1 {
		return nil, errors.New("creating the reader: a fetcher, a clock and positive limits are required")
	}
	return &Reader{config: c, flights: map[keyvault.Ref]*flight{}, censuses: map[keyvault.Ref]*census{},
		doors: doors{clock: c.Clock, parallel: c.Parallel, share: cmp.Or(c.PerNamespace, c.Parallel),
			timeout: c.Timeout, parties: map[party]*door{}},
		memory: memory{entries: c.Entries, bytes: c.Bytes, keep: c.Keep, known: map[keyvault.Ref]*list.Element{}}}, nil
}

// Read returns the object as the vault had it at most maxAge ago. It joins an in-flight call for the same object that
// began within maxAge; with maxAge 0 it always starts a call. A shared call is canceled when its last waiter leaves.
// The context's Purpose sets namespace, priority and refresh interval.
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
				Cause: errors.New("the vault did not respond in time"),
				Next: "the read is retried; if this continues, check network policies, proxies and the route to " +
					"the vault"}},
			from
	}
}

// usable reports whether a cached result is recent enough; the caller holds mu.
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

// launch starts a call; the caller holds mu. The call keeps the values of the first reader's context, but not its
// deadline.
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

// fetch reads the vault of ref, and its fallback if the vault is unavailable. A list has no fallback, because it
// describes one vault.
func (r *Reader) fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind.Listed() != "" {
		return r.fetchList(ctx, ref)
	}
	second := ref
	second.Vault = r.config.Fallbacks[ref.Vault]
	if second.Vault == "" {
		return r.call(ctx, ref)
	}
	first, cancel := context.WithTimeout(ctx, r.config.Timeout*3/5) // leaves time for the fallback
	object, err := r.call(first, ref)
	cancel()
	if fault.KindOf(err) != fault.Unavailable {
		return object, err
	}
	object, other := r.call(ctx, second)
	if other != nil {
		return keyvault.Object{}, err // the error of the vault itself, not of its fallback
	}
	object.Ref, object.Fallback = ref, second.Vault
	return object, nil
}

// fetchList reads a list, and reads it again if an entry of the cached list is missing. An entry is dropped only if
// both lists lack it, so a truncated response does not remove keys from Secrets.
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

// lacks reports whether list lacks an entry of the cached list.
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

// land caches the result of a call and wakes its waiters.
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
	// A call that began earlier must not replace the result of a later one.
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

// sweepLater schedules the removal of expired state, which must go even if there are no more reads; the caller holds
// mu.
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

// Last returns the last successful result if it is not older than age. It serves while a vault is unavailable.
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
			delete(r.flights, ref) // later readers must not join a canceled call
		}
	}
}
