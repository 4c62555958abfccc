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

// minWorkers leaves a worker for others while one namespace has its share.
const minWorkers = 2

// Config says how a pool works; zero fields mean the defaults.
type Config struct {
	// Workers run at once; the default is GOMAXPROCS, at least two.
	Workers int
	// Time that decoding may take before its worker serves others; the default is limits.DecodeTime.
	Time time.Duration
	// CacheBytes bounds what is remembered; the default is limits.DecodedBytes.
	CacheBytes int
}

// Pool runs decoding. Its methods may be called at once.
type Pool struct {
	time    time.Duration
	workers int
	secret  []byte

	mu      sync.Mutex
	busy    int
	stuck   int
	tenants map[string]*tenant
	// turns are the namespaces that wait, the next one first.
	turns []string
	cache cache
}

// tenant is what the pool knows of a namespace while it has work.
type tenant struct {
	running, stuck int
	// waiting get nil when it is their turn, or why it never will be.
	waiting []chan error
}

// New makes a pool.
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

// Share is the part of a pool that a namespace has. The zero Share decodes at once and remembers nothing.
type Share struct {
	pool      *Pool
	namespace string
}

// For is the namespace's share; a nil pool gives the zero Share.
func (p *Pool) For(namespace string) Share { return Share{p, namespace} }

// share is how many workers a namespace may have at once.
func (p *Pool) share() int { return max(1, p.workers/2) }

// acquire waits for a worker.
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

// retryAfterStuck is when a namespace may ask again that has decoding which does not end.
const retryAfterStuck = 30 * time.Second

func (t *tenant) refused(namespace string) error {
	if t.stuck >= limits.StuckDecodes {
		return &fault.Error{Kind: fault.Throttled, RetryAfter: retryAfterStuck,
			Doing: "decoding of earlier objects of namespace " + namespace + " has not ended",
			Next:  "correct or remove the resources of this namespace whose condition says that decoding takes too long"}
	}
	if len(t.waiting) >= limits.WaitingDecodes {
		return fault.New(fault.Throttled,
			"more than %d objects of namespace %s wait to be decoded; use fewer resources at once",
			limits.WaitingDecodes, namespace)
	}
	return nil
}

// leave gives up the wait, or the worker if it came at the same moment.
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

// skip takes a namespace out of the turns. The caller holds the lock.
func (p *Pool) skip(namespace string) {
	p.turns = slices.DeleteFunc(p.turns, func(name string) bool { return name == namespace })
}

// dispatch gives free workers to the namespaces in turn. The caller holds the lock.
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

// release gives a worker back. The caller holds the lock.
func (p *Pool) release(namespace string) {
	p.busy--
	p.tenants[namespace].running--
	p.forget(namespace)
	p.dispatch()
}

// forget drops what is known of a namespace without work. The caller holds the lock.
func (p *Pool) forget(namespace string) {
	if t := p.tenants[namespace]; t.running == 0 && t.stuck == 0 && len(t.waiting) == 0 {
		delete(p.tenants, namespace)
	}
}
