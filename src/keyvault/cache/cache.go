package cache

import (
	"context"
	"errors"
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

// Config configures a Cache; every field is required.
type Config struct {
	// Clock returns the current time.
	Clock func() time.Time
	// CallTimeout limits one call, even if its waiters have later deadlines.
	CallTimeout time.Duration
	// TTL is how long a result stays in the cache; at least the largest maximum age that readers accept. Results of
	// refreshed objects stay longer.
	TTL time.Duration
	// Entries limits the number of cached results, Bytes their total size.
	Entries, Bytes int
}

// Cache shares the calls of the next Fetcher and caches their results. It is safe for concurrent use.
type Cache struct {
	next     keyvault.Fetcher
	config   Config
	onResult func(Result) (notify func())

	mu       sync.Mutex
	inFlight map[keyvault.Ref]*inFlightCall
	results  lruCache
	// sweepTimer is set while there are results to expire.
	sweepTimer *time.Timer
}

var _ keyvault.Fetcher = (*Cache)(nil)

// inFlightCall is an in-flight call.
type inFlightCall struct {
	Result
	done        chan struct{}
	cancel      context.CancelFunc
	waiters     int
	limiterCall *ratelimit.Call
	// confirmsList is true if the call reads a list as often as a reader with ConfirmList needs.
	confirmsList bool
}

// New returns a Cache that calls next. It fails if the configuration is incomplete.
func New(next keyvault.Fetcher, c Config) (*Cache, error) {
	if err := fault.RequireFields("cache.New", map[string]bool{
		"next": next != nil, "Clock": c.Clock != nil, "CallTimeout": c.CallTimeout > 0, "TTL": c.TTL > 0,
		"Entries": c.Entries > 0, "Bytes": c.Bytes > 0,
	}); err != nil {
		return nil, err
	}
	return &Cache{next: next, config: c, inFlight: map[keyvault.Ref]*inFlightCall{}, results: newLRUCache(c)}, nil
}

// OnResult sets the function that is called with the result of each call, before its readers get it. The function that
// it returns is called afterwards. Call OnResult before the first read.
func (c *Cache) OnResult(record func(Result) (notify func())) { c.onResult = record }

// Fetch implements keyvault.Fetcher: it returns the object as the vault had it at most MaxAge of the Purpose ago.
func (c *Cache) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	result := c.Read(ctx, ref, keyvault.PurposeOf(ctx).MaxAge)
	return result.Object, result.Err
}

// Read returns the object as the vault had it at most maxAge ago, in place of MaxAge of the Purpose. It joins an
// in-flight call for the same object that began within maxAge; with maxAge 0 it always starts a call. A shared call is
// canceled when its last waiter leaves.
func (c *Cache) Read(ctx context.Context, ref keyvault.Ref, maxAge time.Duration) Result {
	purpose, source := keyvault.PurposeOf(ctx), SourceInFlight
	purpose.MaxAge = maxAge
	c.mu.Lock()
	if known, ok := c.results.get(ref); ok && c.isFresh(known, purpose) {
		defer c.mu.Unlock()
		return known.copyFrom(SourceCache)
	}
	call, ok := c.inFlight[ref]
	if !ok || c.config.Clock().Sub(call.RequestedAt) >= maxAge || purpose.ConfirmList && !call.confirmsList {
		call, source = c.startCall(ctx, ref), SourceVault
	}
	call.limiterCall.RaisePriority(purpose.Priority)
	call.waiters++
	c.mu.Unlock()
	select {
	case <-call.done:
		return call.resultFrom(source)
	case <-ctx.Done():
		c.abandonCall(ref, call)
		return Result{Ref: ref, Source: source, Err: &fault.Error{Kind: fault.Unavailable,
			Operation: "reading " + ref.String(), Cause: errors.New("the vault did not respond in time"),
			Next: "the read is retried; if this continues, check network policies, proxies and the route to the vault"}}
	}
}

// resultFrom returns the result of a call that has ended.
func (f *inFlightCall) resultFrom(source string) Result {
	result := f.Result
	result.Source = source
	if source == SourceVault && result.Object.FallbackVault != "" {
		result.Source = SourceFallback
	}
	return result
}

// IsFresh reports whether a cached result is recent enough for the Purpose of a reader.
func (c *Cache) IsFresh(a Result, p keyvault.Purpose) bool { return c.isFresh(&a, p) }

func (c *Cache) isFresh(a *Result, p keyvault.Purpose) bool {
	age, maxAge := c.config.Clock().Sub(a.asOf()), p.MaxAge
	switch {
	case p.ConfirmList && a.Err == nil && !a.isListConfirmed:
		return false
	case a.Err != nil:
		maxAge = min(maxAge, negativeTTL)
	case a.Ref.Version != "" && p.Priority == keyvault.PriorityPodStart && maxAge > 0:
		maxAge = max(maxAge, pinnedVersionTTL)
	}
	return age < maxAge
}

// startCall starts a call; the caller holds mu. The call keeps the values of the first reader's context, but not its
// deadline.
func (c *Cache) startCall(ctx context.Context, ref keyvault.Ref) *inFlightCall {
	limiterCall, ctx := ratelimit.NewCall(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, c.config.CallTimeout)
	call := &inFlightCall{done: make(chan struct{}), cancel: cancel, limiterCall: limiterCall,
		Result: Result{Ref: ref, RequestedAt: c.config.Clock(),
			RefreshInterval: keyvault.PurposeOf(ctx).RefreshInterval},
		confirmsList: keyvault.PurposeOf(ctx).ConfirmList}
	c.inFlight[ref] = call
	go func() {
		defer cancel()
		object, confirmed, err := c.fetchConfirmed(ctx, ref)
		call.isListConfirmed = confirmed
		c.finishCall(call, object, err)
	}()
	return call
}

// finishCall caches the result of a call and wakes its waiters.
func (c *Cache) finishCall(call *inFlightCall, object keyvault.Object, err error) {
	call.Object, call.Err = object, err
	call.indexEntries()
	notify := func() {}
	if c.onResult != nil {
		notify = c.onResult(call.Result)
	}
	c.mu.Lock()
	if c.inFlight[call.Ref] == call {
		delete(c.inFlight, call.Ref)
	}
	// A call that began earlier must not replace the result of a later one.
	if known, ok := c.results.get(call.Ref); !ok || !known.RequestedAt.After(call.RequestedAt) {
		c.results.put(call.Result)
		c.scheduleSweep()
	}
	close(call.done)
	c.mu.Unlock()
	notify()
}

func (c *Cache) abandonCall(ref keyvault.Ref, call *inFlightCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.waiters--; call.waiters == 0 {
		call.cancel()
		if c.inFlight[ref] == call {
			delete(c.inFlight, ref) // later readers must not join a canceled call
		}
	}
}

// scheduleSweep schedules the removal of expired results, which must go even if there are no more reads; the caller
// holds mu.
func (c *Cache) scheduleSweep() {
	if c.sweepTimer != nil || c.results.lru.Len() == 0 {
		return
	}
	c.sweepTimer = time.AfterFunc(max(c.config.TTL/2, time.Second), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sweepTimer = nil
		c.results.removeExpired(c.config.Clock())
		c.scheduleSweep()
	})
}

// LastGood returns the last successful result if it is not older than age. It serves while a vault is unavailable.
func (c *Cache) LastGood(ref keyvault.Ref, age time.Duration) (keyvault.Object, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.results.get(ref)
	if !ok || known.Err != nil || c.config.Clock().Sub(known.asOf()) > age {
		return keyvault.Object{}, false
	}
	return known.copyObject(), true
}
