package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/cache"
	"github.com/akv2k8s/akv2k8s/src/keyvault/ratelimit"
)

// sourceList is the source of a cached result that a list confirmed, in addition to the sources of package cache.
const sourceList = "list"

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

// Config configures a Fetcher; Clock is required.
type Config struct {
	// Clock returns the current time; it is that of the cache.
	Clock    func() time.Time
	Observer Observer
	// OnChange is called for each object whose entry in a list differs from the cached result.
	OnChange func(ref keyvault.Ref)
}

// Fetcher reads objects from a cache, which lists keep recent. It is safe for concurrent use.
type Fetcher struct {
	cache  *cache.Cache
	config Config

	// mu is locked before the lock of the cache.
	mu sync.Mutex
	// plans has the refresh state of each list.
	plans map[keyvault.Ref]*plan
	// sweepTimer is set while there are plans.
	sweepTimer *time.Timer
}

var _ keyvault.Fetcher = (*Fetcher)(nil)

// New returns a Fetcher that reads through the cache, and becomes the receiver of its results. It fails if the
// configuration is incomplete.
func New(next *cache.Cache, c Config) (*Fetcher, error) {
	if err := fault.RequireFields("refresh.New", map[string]bool{
		"next": next != nil, "Clock": c.Clock != nil,
	}); err != nil {
		return nil, err
	}
	f := &Fetcher{cache: next, config: c, plans: map[keyvault.Ref]*plan{}}
	next.OnResult(f.recordResult)
	return f, nil
}

// Fetch implements keyvault.Fetcher. The Purpose of ctx says how recent the object must be, and whether it is
// refreshed.
func (f *Fetcher) Fetch(ctx context.Context, ref keyvault.Ref) (keyvault.Object, error) {
	result := f.readThroughList(ctx, ref)
	if f.config.Observer != nil {
		f.config.Observer.RecordRead(ref, result.Source, result.Err)
	}
	return result.Object, result.Err
}

// readThroughList reads an object, from the cache if a list confirms the cached result. It calls the vault for an
// object that is not cached, for a pinned version, for an object whose list entry is missing or differs, for a result
// that was read so soon after a change that a list can't detect the next one, and once a day for every object.
func (f *Fetcher) readThroughList(ctx context.Context, ref keyvault.Ref) cache.Result {
	purpose := keyvault.PurposeOf(ctx)
	if !isRefreshed(ref, purpose.RefreshInterval) || !f.canConfirmByList(ref, purpose) {
		return f.cache.Read(ctx, ref, purpose.MaxAge)
	}
	list := f.cache.Read(ctx, listRefOf(ref), purpose.RefreshInterval)
	switch {
	case list.Err == nil:
	case f.canWaitForList(listRefOf(ref), list.Err):
		// Reading each object would add load to a throttled vault, and these reads would delay the next list.
		err := list.Err
		if !ratelimit.IsDeferred(err) { // the error is about the list, not about the object
			err = ratelimit.PausedError(ref.Vault, max(fault.RetryAfter(err), time.Second))
		}
		return cache.Result{Ref: ref, Err: err, Source: sourceList}
	default:
		f.avoidList(listRefOf(ref), list.Err)
		return f.cache.Read(ctx, ref, purpose.MaxAge)
	}
	confirmed, ok := f.cache.ConfirmResult(ctx, ref, list.RequestedAt,
		func(known cache.Result) bool { return isConfirmedBy(known, list) })
	if ok {
		confirmed.Source = sourceList
		return confirmed
	}
	// A result that is older than the list does not count any more.
	return f.cache.Read(ctx, ref, min(purpose.MaxAge, f.config.Clock().Sub(list.RequestedAt)))
}

// isRefreshed reports whether an object is one that is refreshed and that a list can have.
func isRefreshed(ref keyvault.Ref, interval time.Duration) bool {
	return interval > 0 && ref.Version == "" && ref.Kind.ListKind() != ""
}

// canConfirmByList reports whether a list can confirm the cached result of an object. It also records the refresh.
func (f *Fetcher) canConfirmByList(ref keyvault.Ref, purpose keyvault.Purpose) bool {
	now, list := f.config.Clock(), listRefOf(ref)
	known, ok := f.cache.RecordRefresh(ref)
	was, is, tracked := f.chooseMethod(ref, purpose.RefreshInterval, now)
	if !tracked { // the vault has not returned an object yet
		return false
	}
	if was != is && f.config.Observer != nil {
		f.config.Observer.RecordChangeDetection(list, was, is)
	}
	return ok && known.Err == nil && !f.cache.IsFresh(known, purpose) && hasConclusiveDate(known) &&
		!now.After(nextDailyRead(known)) && is == methodList && purpose.Priority == keyvault.PriorityRefresh
}

// chooseMethod tracks an object whose list has a plan. It returns the previous and the current method of its changes'
// detection.
func (f *Fetcher) chooseMethod(ref keyvault.Ref, every time.Duration, now time.Time) (was, is string, tracked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.plans[listRefOf(ref)]
	if !ok {
		return "", "", false
	}
	p.trackObject(ref, every, now)
	was, p.method = p.method, p.chooseMethod(every, now)
	return was, p.method, true
}
