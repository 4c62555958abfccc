package decodepool

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// DecodeFunc decodes an object. It should return when ctx ends, and its errors must not quote values.
type DecodeFunc func(ctx context.Context) (Output, error)

// result is the result of a decode.
type result struct {
	output Output
	err    error
}

// Do returns the cached output of the key, or runs decode in one of the namespace's workers. It caches the result, also
// an error that the same input would cause again. The caller owns the output, which is a copy.
func (s NamespacePool) Do(ctx context.Context, key CacheKey, decode DecodeFunc) (Output, error) {
	if s.pool == nil {
		return decodeRecovered(ctx, decode)
	}
	if r, ok := s.pool.cachedResult(key); ok {
		return r.output, r.err
	}
	if err := s.pool.acquireWorker(ctx, s.namespace); err != nil {
		return Output{}, err
	}
	if r, ok := s.pool.cachedResult(key); ok { // another caller decoded it in the meantime
		s.pool.mu.Lock()
		s.pool.releaseWorker(s.namespace)
		s.pool.mu.Unlock()
		return r.output, r.err
	}
	return s.pool.runDecode(ctx, s.namespace, key, decode)
}

// runDecode decodes in a goroutine and waits for at most the pool's time limit.
func (p *Pool) runDecode(ctx context.Context, namespace string, key CacheKey, decode DecodeFunc) (Output, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	done := make(chan result, 1)
	j := &job{pool: p, namespace: namespace}
	j.timer = time.AfterFunc(p.timeout, j.markStuck)
	go func() {
		defer cancel()
		output, err := decodeRecovered(ctx, decode)
		p.cacheResult(key, result{output, err})
		j.finishJob()
		done <- result{output, err}
	}()
	select {
	case r := <-done:
		return r.output, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.output, r.err
	default:
	}
	if err := caller.Err(); err != nil {
		return Output{}, fault.Wrap(fault.Throttled, err, "waiting for an object to be decoded")
	}
	j.markStuck()
	return Output{}, &fault.Error{Kind: fault.Throttled, RetryAfter: retryAfterStuck, Cause: ctx.Err(),
		Operation: "decoding takes longer than " + limits.Duration(p.timeout),
		Next:      "if this persists, store a simpler object: fewer or smaller keys, certificates and expressions"}
}

// job is one decode in a goroutine, with its worker.
type job struct {
	pool      *Pool
	namespace string
	timer     *time.Timer
	// stuck and ended are guarded by the pool's lock.
	stuck, ended bool
}

// markStuck releases the worker although the goroutine still runs. With limits.AllStuckDecodes such goroutines, workers
// stay occupied, because more goroutines would only compete for the CPU.
func (j *job) markStuck() {
	p := j.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.namespaces[j.namespace]
	if j.ended || j.stuck || p.stuckJobs >= limits.TotalStuckDecodes {
		return
	}
	j.stuck = true
	p.stuckJobs++
	t.stuckJobs++
	if err := t.checkLimits(j.namespace); err != nil {
		for _, turn := range t.waiters {
			turn <- err
		}
		t.waiters = nil
		p.dequeueNamespace(j.namespace)
	}
	p.releaseWorker(j.namespace)
}

// finishJob releases the worker, or removes the job from the stuck ones.
func (j *job) finishJob() {
	p := j.pool
	j.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	j.ended = true
	if !j.stuck {
		p.releaseWorker(j.namespace)
		return
	}
	p.stuckJobs--
	p.namespaces[j.namespace].stuckJobs--
	p.removeIfIdle(j.namespace)
}

// decodeRecovered turns a panic of decode into an error. Decoding reads untrusted input, and a panic would stop the
// program for all namespaces.
func decodeRecovered(ctx context.Context, decode DecodeFunc) (output Output, err error) {
	defer func() {
		if recover() != nil { // the text of the panic can quote a value
			output, err = Output{}, fault.New(fault.Bug, "decoding the object failed unexpectedly")
		}
	}()
	return decode(ctx)
}
