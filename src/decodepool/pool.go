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
	// Timeout is the limit of one decode, after which its worker serves others; the default is limits.DecodeTime.
	Timeout time.Duration
	// CacheBytes is the maximum size of the cache in bytes; the default is limits.DecodedBytes.
	CacheBytes int
}

// Pool runs decodes in a limited number of workers. It is safe for concurrent use.
type Pool struct {
	timeout time.Duration
	workers int
	hashKey []byte

	mu          sync.Mutex
	busyWorkers int
	stuckJobs   int
	namespaces  map[string]*namespaceState
	// queue is the queue of namespaces with waiters, the next one first.
	queue []string
	cache cache
}

// namespaceState is the state of a namespace that has decodes running or waiting.
type namespaceState struct {
	runningJobs, stuckJobs int
	// waiters are the waiters, in order. A waiter receives nil with its worker, or the error that rejects it.
	waiters []chan error
}

// New creates a pool.
func New(c Config) *Pool {
	if c.Workers == 0 {
		c.Workers = max(minWorkers, runtime.GOMAXPROCS(0))
	}
	if c.Timeout == 0 {
		c.Timeout = limits.DecodeTime
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = limits.DecodeCacheBytes
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return &Pool{timeout: c.Timeout, workers: c.Workers, hashKey: secret, namespaces: map[string]*namespaceState{},
		cache: newCache(c.CacheBytes)}
}

// NamespacePool is a pool as one namespace uses it. The zero value decodes in the caller's goroutine and caches
// nothing.
type NamespacePool struct {
	pool      *Pool
	namespace string
}

// ForNamespace returns the pool for a namespace. A nil pool gives the zero value.
func (p *Pool) ForNamespace(namespace string) NamespacePool { return NamespacePool{p, namespace} }

// workersPerNamespace is the maximum of workers that one namespace uses at the same time.
func (p *Pool) workersPerNamespace() int { return max(1, p.workers/2) }

// acquireWorker waits for a worker. Errors are fault.Throttled.
func (p *Pool) acquireWorker(ctx context.Context, namespace string) error {
	p.mu.Lock()
	t := p.namespaces[namespace]
	if t == nil {
		t = &namespaceState{}
		p.namespaces[namespace] = t
	}
	if err := t.checkLimits(namespace); err != nil {
		p.mu.Unlock()
		return err
	}
	turn := make(chan error, 1)
	if len(t.waiters) == 0 {
		p.queue = append(p.queue, namespace)
	}
	t.waiters = append(t.waiters, turn)
	p.dispatchWorkers()
	p.mu.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
		p.cancelWait(namespace, turn)
		return fault.Wrap(fault.Throttled, ctx.Err(),
			"waiting for other objects of namespace "+namespace+" to be decoded")
	}
}

// retryAfterStuck is the time after which a namespace with stuck decodes can retry.
const retryAfterStuck = 30 * time.Second

func (t *namespaceState) checkLimits(namespace string) error {
	if t.stuckJobs >= limits.StuckDecodes {
		return &fault.Error{Kind: fault.Throttled, RetryAfter: retryAfterStuck,
			Operation: "earlier objects of namespace " + namespace + " are still being decoded",
			Next: "correct or remove the resources of the namespace whose condition says that decoding takes " +
				"too long"}
	}
	if len(t.waiters) >= limits.QueuedDecodes {
		return fault.New(fault.Throttled,
			"more than %d objects of namespace %s wait to be decoded; create fewer resources at a time",
			limits.QueuedDecodes, namespace)
	}
	return nil
}

// cancelWait removes a waiter. If the waiter received a worker in the meantime, leave releases the worker.
func (p *Pool) cancelWait(namespace string, turn chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case err := <-turn:
		if err == nil {
			p.releaseWorker(namespace)
		}
		return
	default:
	}
	t := p.namespaces[namespace]
	t.waiters = slices.DeleteFunc(t.waiters, func(other chan error) bool { return other == turn })
	if len(t.waiters) == 0 {
		p.dequeueNamespace(namespace)
	}
	p.removeIfIdle(namespace)
}

// dequeueNamespace removes a namespace from the queue. The caller holds the lock.
func (p *Pool) dequeueNamespace(namespace string) {
	p.queue = slices.DeleteFunc(p.queue, func(name string) bool { return name == namespace })
}

// dispatchWorkers assigns free workers to the waiting namespaces, round robin. The caller holds the lock.
func (p *Pool) dispatchWorkers() {
	for i := 0; i < len(p.queue) && p.busyWorkers < p.workers; {
		namespace := p.queue[i]
		t := p.namespaces[namespace]
		if t.runningJobs >= p.workersPerNamespace() {
			i++
			continue
		}
		p.busyWorkers++
		t.runningJobs++
		t.waiters[0] <- nil
		t.waiters = t.waiters[1:]
		p.queue = slices.Delete(p.queue, i, i+1)
		if len(t.waiters) > 0 {
			p.queue = append(p.queue, namespace)
		}
	}
}

// releaseWorker returns a worker to the pool. The caller holds the lock.
func (p *Pool) releaseWorker(namespace string) {
	p.busyWorkers--
	p.namespaces[namespace].runningJobs--
	p.removeIfIdle(namespace)
	p.dispatchWorkers()
}

// removeIfIdle deletes the state of a namespace without running or waiting decodes. The caller holds the lock.
func (p *Pool) removeIfIdle(namespace string) {
	if t := p.namespaces[namespace]; t.runningJobs == 0 && t.stuckJobs == 0 && len(t.waiters) == 0 {
		delete(p.namespaces, namespace)
	}
}
