package decodepool

import (
	"context"
	"crypto/rand"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// minWorkers leaves a worker for other namespaces while one namespace uses its share.
const minWorkers = 2

// Config configures a Pool. Zero fields mean the defaults.
type Config struct {
	// Workers is the maximum of concurrent decodes; the default is GOMAXPROCS, at least two.
	Workers int
	// Time is the limit of one decode, after which its worker serves others; the default is limits.DecodeTime.
	Time time.Duration
	// CacheBytes is the maximum size of the cache in bytes; the default is limits.DecodedBytes.
	CacheBytes int
}

// Pool runs decodes in a limited number of workers. It is safe for concurrent use.
type Pool struct {
	time    time.Duration
	workers int
	secret  []byte

	mu      sync.Mutex
	busy    int
	stuck   int
	tenants map[string]*tenant
	// turns is the queue of namespaces with waiters, the next one first.
	turns []string
	cache cache
}

// tenant is the state of a namespace that has decodes running or waiting.
type tenant struct {
	running, stuck int
	// waiting are the waiters, in order. A waiter receives nil with its worker, or the error that rejects it.
	waiting []chan error
}

// New creates a pool.
func New(c Config) *Pool {
	if c.Workers == 0 {
		c.Workers = max(minWorkers, runtime.GOMAXPROCS(0))
	}
	if c.Time == 0 {
		c.Time = limits.DecodeTime
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = limits.DecodedBytes
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return &Pool{time: c.Time, workers: c.Workers, secret: secret, tenants: map[string]*tenant{},
		cache: newCache(c.CacheBytes)}
}

// Share is a pool as one namespace uses it. The zero value decodes in the caller's goroutine and caches nothing.
type Share struct {
	pool      *Pool
	namespace string
}

// For returns the pool for a namespace. A nil pool gives the zero value.
func (p *Pool) For(namespace string) Share { return Share{p, namespace} }

// share is the maximum of workers that one namespace uses at the same time.
func (p *Pool) share() int { return max(1, p.workers/2) }

// acquire waits for a worker. Errors are fault.Throttled.
func (p *Pool) acquire(ctx context.Context, namespace string) error {
	p.mu.Lock()
	t := p.tenants[namespace]
	if t == nil {
		t = &tenant{}
		p.tenants[namespace] = t
	}
	if err := t.refused(namespace); err != nil {
		p.mu.Unlock()
		return err
	}
	turn := make(chan error, 1)
	if len(t.waiting) == 0 {
		p.turns = append(p.turns, namespace)
	}
	t.waiting = append(t.waiting, turn)
	p.dispatch()
	p.mu.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
		p.leave(namespace, turn)
		return fault.Wrap(fault.Throttled, ctx.Err(),
			"waiting for other objects of namespace "+namespace+" to be decoded")
	}
}

// retryAfterStuck is the time after which a namespace with stuck decodes can retry.
const retryAfterStuck = 30 * time.Second

func (t *tenant) refused(namespace string) error {
	if t.stuck >= limits.StuckDecodes {
		return &fault.Error{Kind: fault.Throttled, RetryAfter: retryAfterStuck,
			Doing: "earlier objects of namespace " + namespace + " are still being decoded",
			Next:  "correct or remove the resources of the namespace whose condition says that decoding takes too long"}
	}
	if len(t.waiting) >= limits.WaitingDecodes {
		return fault.New(fault.Throttled,
			"more than %d objects of namespace %s wait to be decoded; create fewer resources at a time",
			limits.WaitingDecodes, namespace)
	}
	return nil
}

// leave removes a waiter. If the waiter received a worker in the meantime, leave releases the worker.
func (p *Pool) leave(namespace string, turn chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case err := <-turn:
		if err == nil {
			p.release(namespace)
		}
		return
	default:
	}
	t := p.tenants[namespace]
	t.waiting = slices.DeleteFunc(t.waiting, func(other chan error) bool { return other == turn })
	if len(t.waiting) == 0 {
		p.skip(namespace)
	}
	p.forget(namespace)
}

// skip removes a namespace from the queue. The caller holds the lock.
func (p *Pool) skip(namespace string) {
	p.turns = slices.DeleteFunc(p.turns, func(name string) bool { return name == namespace })
}

// dispatch assigns free workers to the waiting namespaces, round robin. The caller holds the lock.
func (p *Pool) dispatch() {
	for i := 0; i < len(p.turns) && p.busy < p.workers; {
		namespace := p.turns[i]
		t := p.tenants[namespace]
		if t.running >= p.share() {
			i++
			continue
		}
		p.busy++
		t.running++
		t.waiting[0] <- nil
		t.waiting = t.waiting[1:]
		p.turns = slices.Delete(p.turns, i, i+1)
		if len(t.waiting) > 0 {
			p.turns = append(p.turns, namespace)
		}
	}
}

// release returns a worker to the pool. The caller holds the lock.
func (p *Pool) release(namespace string) {
	p.busy--
	p.tenants[namespace].running--
	p.forget(namespace)
	p.dispatch()
}

// forget deletes the state of a namespace without running or waiting decodes. The caller holds the lock.
func (p *Pool) forget(namespace string) {
	if t := p.tenants[namespace]; t.running == 0 && t.stuck == 0 && len(t.waiting) == 0 {
		delete(p.tenants, namespace)
	}
}
