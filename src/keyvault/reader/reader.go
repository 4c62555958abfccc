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
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
)

// negativeTTL is how long a NotFound, Denied or Disabled result is shared. It protects a vault from a crash-looping
// pod, and is short enough that a repair takes effect soon.
const negativeTTL = 10 * time.Second

// pinnedVersionTTL is the minimum cache age that a pod accepts for a pinned version. The value of a version never
// changes, but the version can be disabled and access can be revoked.
const pinnedVersionTTL = 30 * time.Second

// Fetcher fetches an object or a list from a vault. Its errors are classified by package fault.
type Fetcher interface {
	Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error)
}

// The sources of a result, as used in metric labels: a new call, an in-flight call of another reader, the cache, and a
// cached result that a list confirmed.
const (
	sourceVault    = "vault"
	sourceInFlight = "shared"
	sourceCache    = "memory"
	sourceList     = "list"
	// sourceFallback is a call to the fallback vault because the vault itself is unavailable.
	sourceFallback = "fallback"
)

// Observer observes reads.
type Observer interface {
	// RecordRead is called after each read with the source of the result (vault, fallback, shared, memory or list), and
	// its error or nil.
	RecordRead(ref keyvault.Ref, from string, err error)
	// RecordChangeDetection is called when the method that detects changes of a list's objects changes. was and is are
	// list or get; was is empty the first time.
	RecordChangeDetection(list keyvault.Ref, was, is string)
	// RecordListUnavailable is called when a list starts to fail, with the time after which it is requested again. It
	// is not called again before that time.
	RecordListUnavailable(list keyvault.Ref, err error, wait time.Duration)
}

// Config configures a Reader; every field but MaxPerNamespace, Fallbacks, Observer and OnChange is required.
type Config struct {
	Fetcher Fetcher
	// Clock returns the current time.
	Clock func() time.Time
	// MaxConcurrent limits the concurrent calls of one identity to one vault, for each priority.
	MaxConcurrent int
	// MaxPerNamespace limits how many of these calls one namespace has; zero for no separate limit.
	MaxPerNamespace int
	// CallTimeout limits one call, even if its waiters have later deadlines.
	CallTimeout time.Duration
	// CacheTTL is how long a result stays in the cache; at least the largest maxAge. Results of refreshed objects stay
	// longer.
	CacheTTL time.Duration
	// CacheEntries limits the number of cached results, CacheBytes their total size.
	CacheEntries, CacheBytes int
	// Fallbacks maps a vault to the vault that is read while it is unavailable; can be nil.
	Fallbacks map[string]string
	Observer  Observer
	// OnChange is called for each object whose entry in a list differs from the cached result; can be nil.
	OnChange func(ref keyvault.Ref)
}

// Reader reads vault objects. It is safe for concurrent use.
type Reader struct {
	config   Config
	breakers circuitBreakers

	mu       sync.Mutex
	inFlight map[keyvault.Ref]*inFlightCall
	cache    lruCache
	// plans has the refresh state of each list.
	plans map[keyvault.Ref]*refreshPlan
	// sweepTimer is set while there is state to expire.
	sweepTimer *time.Timer
}

// inFlightCall is an in-flight call.
type inFlightCall struct {
	fetchResult
	done        chan struct{}
	cancel      context.CancelFunc
	waiters     int
	limiterCall *ratelimit.Call
}

// New returns a Reader. It fails if the configuration is incomplete.
func New(c Config) (*Reader, error) {
	if c.Fetcher == nil || c.Clock == nil || c.MaxConcurrent < 1 || c.CallTimeout <= 0 || c.CacheTTL <= 0 ||
		c.CacheEntries < 1 ||
		c.CacheBytes < 1 {
		return nil, errors.New("creating the reader: a fetcher, a clock and positive limits are required")
	}
	return &Reader{config: c, inFlight: map[keyvault.Ref]*inFlightCall{}, plans: map[keyvault.Ref]*refreshPlan{},
		breakers: circuitBreakers{clock: c.Clock, maxConcurrent: c.MaxConcurrent,
			maxPerNamespace: cmp.Or(c.MaxPerNamespace, c.MaxConcurrent),
			callTimeout:     c.CallTimeout, byKey: map[breakerKey]*circuitBreaker{}},
		cache: lruCache{maxEntries: c.CacheEntries, maxBytes: c.CacheBytes, ttl: c.CacheTTL,
			elements: map[keyvault.Ref]*list.Element{}}}, nil
}

// Read returns the object as the vault had it at most maxAge ago. It joins an in-flight call for the same object that
// began within maxAge; with maxAge 0 it always starts a call. A shared call is canceled when its last waiter leaves.
// The context's Purpose sets namespace, priority and refresh interval.
func (r *Reader) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (keyvault.Object, error) {
	a, from := r.readThroughList(ctx, ref, maxAge)
	if from == sourceVault && a.object.FallbackVault != "" {
		from = sourceFallback
	}
	if r.config.Observer != nil {
		r.config.Observer.RecordRead(ref, from, a.err)
	}
	return a.object, a.err
}

func (r *Reader) readShared(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) (fetchResult, string) {
	purpose, from := keyvault.PurposeOf(ctx), sourceInFlight
	r.mu.Lock()
	if known, ok := r.cache.get(ref); ok && r.isFresh(known, maxAge, purpose) {
		given := *known
		given.object = known.copyObject()
		r.mu.Unlock()
		return given, sourceCache
	}
	f, ok := r.inFlight[ref]
	if !ok || r.config.Clock().Sub(f.requestedAt) >= maxAge {
		f, from = r.startCall(ctx, ref), sourceVault
	}
	f.limiterCall.RaisePriority(purpose.Priority)
	f.waiters++
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.fetchResult, from
	case <-ctx.Done():
		r.abandonCall(ref, f)
		return fetchResult{err: &fault.Error{Kind: fault.Unavailable, Operation: "reading " + ref.String(),
				Cause: errors.New("the vault did not respond in time"),
				Next: "the read is retried; if this continues, check network policies, proxies and the route to " +
					"the vault"}},
			from
	}
}

// isFresh reports whether a cached result is recent enough; the caller holds mu.
func (r *Reader) isFresh(a *fetchResult, maxAge time.Duration, p keyvault.Purpose) bool {
	age := r.config.Clock().Sub(a.asOf())
	switch {
	case a.err != nil:
		maxAge = min(maxAge, negativeTTL)
	case a.ref.Version != "" && p.Priority == keyvault.PriorityPodStart && maxAge > 0:
		maxAge = max(maxAge, pinnedVersionTTL)
	}
	return age < maxAge
}

// startCall starts a call; the caller holds mu. The call keeps the values of the first reader's context, but not its
// deadline.
func (r *Reader) startCall(ctx context.Context, ref keyvault.Ref) *inFlightCall {
	call, ctx := ratelimit.NewCall(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	f := &inFlightCall{done: make(chan struct{}), cancel: cancel, limiterCall: call,
		fetchResult: fetchResult{ref: ref, requestedAt: r.config.Clock(),
			refreshInterval: keyvault.PurposeOf(ctx).RefreshInterval}}
	r.inFlight[ref] = f
	go func() {
		defer cancel()
		object, err := r.fetchWithFallback(ctx, ref)
		r.finishCall(f, object, err)
	}()
	return f
}

// fetchWithFallback reads the vault of ref, and its fallback if the vault is unavailable. A list has no fallback,
// because it describes one vault.
func (r *Reader) fetchWithFallback(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	if ref.Kind.ItemKind() != "" {
		return r.fetchConfirmedList(ctx, ref)
	}
	second := ref
	second.Vault = r.config.Fallbacks[ref.Vault]
	if second.Vault == "" {
		return r.callVault(ctx, ref)
	}
	first, cancel := context.WithTimeout(ctx, r.config.CallTimeout*3/5) // leaves time for the fallback
	object, err := r.callVault(first, ref)
	cancel()
	if fault.KindOf(err) != fault.Unavailable {
		return object, err
	}
	object, other := r.callVault(ctx, second)
	if other != nil {
		return keyvault.Object{}, err // the error of the vault itself, not of its fallback
	}
	object.Ref, object.FallbackVault = ref, second.Vault
	return object, nil
}

// fetchConfirmedList reads a list, and reads it again if an entry of the cached list is missing. An entry is dropped
// only if both lists lack it, so a truncated response does not remove keys from Secrets.
func (r *Reader) fetchConfirmedList(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	list, err := r.callVault(ctx, ref)
	if err != nil || !r.lacksKnownEntries(list) {
		return list, err
	}
	again, err := r.callVault(ctx, ref)
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

// lacksKnownEntries reports whether list lacks an entry of the cached list.
func (r *Reader) lacksKnownEntries(list keyvault.Object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.cache.get(list.Ref)
	if !ok || known.err != nil {
		return false
	}
	in := make(map[string]bool, len(list.Entries))
	for _, e := range list.Entries {
		in[strings.ToLower(e.Name)] = true
	}
	for name := range known.entriesByName {
		if !in[name] {
			return true
		}
	}
	return false
}

func (r *Reader) callVault(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	leave, err := r.breakers.admitCall(ctx, ref)
	if err != nil {
		return keyvault.Object{}, &fault.Error{Kind: fault.KindOf(err), Operation: "reading " + ref.String(),
			RetryAfter: fault.RetryAfter(err), Cause: err}
	}
	object, err := r.config.Fetcher.Fetch(ctx, ref)
	leave(err)
	return object, err
}

// finishCall caches the result of a call and wakes its waiters.
func (r *Reader) finishCall(f *inFlightCall, object keyvault.Object, err error) {
	var changed []keyvault.Ref
	r.mu.Lock()
	f.object, f.err = object, err
	if f.ref.Kind.ItemKind() != "" {
		changed = r.applyList(&f.fetchResult)
	}
	if err == nil && f.refreshInterval > 0 && f.ref.Version == "" && f.ref.Kind.ListKind() != "" {
		r.trackObject(f.ref, f.refreshInterval)
	}
	if r.inFlight[f.ref] == f {
		delete(r.inFlight, f.ref)
	}
	// A call that began earlier must not replace the result of a later one.
	if known, ok := r.cache.get(f.ref); !ok || !known.requestedAt.After(f.requestedAt) {
		r.cache.put(f.fetchResult)
		r.scheduleSweep()
	}
	close(f.done)
	r.mu.Unlock()
	for _, ref := range changed {
		if r.config.OnChange != nil {
			r.config.OnChange(ref)
		}
	}
}

// scheduleSweep schedules the removal of expired state, which must go even if there are no more reads; the caller holds
// mu.
func (r *Reader) scheduleSweep() {
	if r.sweepTimer != nil || r.cache.lru.Len()+len(r.plans) == 0 {
		return
	}
	r.sweepTimer = time.AfterFunc(max(r.config.CacheTTL/2, time.Second), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sweepTimer = nil
		now := r.config.Clock()
		r.cache.removeExpired(now)
		maps.DeleteFunc(r.plans, func(_ keyvault.Ref, c *refreshPlan) bool { return c.removeStale(now) })
		r.scheduleSweep()
	})
}

// LastGood returns the last successful result if it is not older than age. It serves while a vault is unavailable.
func (r *Reader) LastGood(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.cache.get(ref)
	if !ok || known.err != nil || r.config.Clock().Sub(known.asOf()) > age {
		return keyvault.Object{}, false
	}
	return known.copyObject(), true
}

func (r *Reader) abandonCall(ref keyvault.Ref, f *inFlightCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		if r.inFlight[ref] == f {
			delete(r.inFlight, ref) // later readers must not join a canceled call
		}
	}
}
