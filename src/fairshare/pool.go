package fairshare

import (
	"context"
	"sync"
)

// Pool is a number of units, such as slots or bytes, that keys share. One greedy key gets half of them, two get a third
// each, and n get one of n+1 parts each; the last part stays free for keys that hold nothing yet. It is safe for
// concurrent use.
type Pool struct {
	mu       sync.Mutex
	capacity int64
	used     int64
	held     map[string]int64
	// released is closed, and replaced, when units are released.
	released chan struct{}
}

// NewPool returns a pool of that many free units.
func NewPool(capacity int64) *Pool {
	return &Pool{capacity: capacity, held: map[string]int64{}, released: make(chan struct{})}
}

// TryAcquire takes n units for the key, or returns false if the share of the key does not allow it. A key that holds
// nothing can take all free units.
func (p *Pool) TryAcquire(key string, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tryAcquireLocked(key, n)
}

// Acquire waits until it can take n units for the key, or returns the context's error.
func (p *Pool) Acquire(ctx context.Context, key string, n int64) error {
	for {
		p.mu.Lock()
		acquired, released := p.tryAcquireLocked(key, n), p.released
		p.mu.Unlock()
		if acquired {
			return nil
		}
		select {
		case <-released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryAcquireLocked is TryAcquire for a caller that holds mu.
func (p *Pool) tryAcquireLocked(key string, n int64) bool {
	free := p.capacity - p.used - n
	if n < 0 || free < 0 || (p.held[key] > 0 && p.held[key]+n > free) {
		return false
	}
	if n > 0 {
		p.used += n
		p.held[key] += n
	}
	return true
}

// Release returns n units of the key. The pool keeps nothing of a key that holds nothing.
func (p *Pool) Release(key string, n int64) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	if p.held[key] -= n; p.held[key] == 0 {
		delete(p.held, key)
	}
	close(p.released)
	p.released = make(chan struct{})
}

// Used returns the number of units that are taken.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
