package fairshare

import (
	"context"
	"sync"
	"time"
)

// RateLimiter limits the number of events in each window of time. Keys share the events as the units of a Pool, in
// which each event holds one unit for one window. It is safe for concurrent use.
type RateLimiter struct {
	mu     sync.Mutex
	pool   *Pool
	window time.Duration
	clock  func() time.Time
	// recent are the events of the last window, the oldest first.
	recent []event
}

type event struct {
	at  time.Time
	key string
}

// NewRateLimiter returns a Rate of that many events in each window.
func NewRateLimiter(events int64, window time.Duration, clock func() time.Time) *RateLimiter {
	return &RateLimiter{pool: NewPool(events), window: window, clock: clock}
}

// Allow counts an event of the key, or returns false if the share of the key does not allow it.
func (r *RateLimiter) Allow(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	expired := 0
	for expired < len(r.recent) && now.Sub(r.recent[expired].at) >= r.window {
		r.pool.Release(r.recent[expired].key, 1)
		expired++
	}
	if r.recent = r.recent[expired:]; len(r.recent) == 0 {
		r.recent = nil // releases the memory of a flood
	}
	if !r.pool.TryAcquire(key, 1) {
		return false
	}
	r.recent = append(r.recent, event{now, key})
	return true
}

// pollInterval is the interval between the attempts of Wait.
const pollInterval = 50 * time.Millisecond

// Wait waits until an event of the key is allowed and counts it, or returns the context's error.
func (r *RateLimiter) Wait(ctx context.Context, key string) error {
	for !r.Allow(key) {
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
