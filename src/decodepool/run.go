package decodepool

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Decode decodes an object. It should return when ctx ends, and its errors must not quote values.
type Decode func(ctx context.Context) (Output, error)

// result is the result of a decode.
type result struct {
	output Output
	err    error
}

// Do returns the cached output of the key, or runs decode in one of the namespace's workers. It caches the result, also
// an error that the same input would cause again. The caller owns the output, which is a copy.
func (s Share) Do(ctx context.Context, key Key, decode Decode) (Output, error) {
	if s.pool == nil {
		return safely(ctx, decode)
	}
	if r, ok := s.pool.recall(key); ok {
		return r.output, r.err
	}
	if err := s.pool.acquire(ctx, s.namespace); err != nil {
		return Output{}, err
	}
	if r, ok := s.pool.recall(key); ok { // another caller decoded it in the meantime
		s.pool.mu.Lock()
		s.pool.release(s.namespace)
		s.pool.mu.Unlock()
		return r.output, r.err
	}
	return s.pool.run(ctx, s.namespace, key, decode)
}

// run decodes in a goroutine and waits for at most the pool's time limit.
func (p *Pool) run(ctx context.Context, namespace string, key Key, decode Decode) (Output, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, p.time)
	done := make(chan result, 1)
	j := &job{pool: p, namespace: namespace}
	j.timer = time.AfterFunc(p.time, j.abandon)
	go func() {
		defer cancel()
		output, err := safely(ctx, decode)
		p.remember(key, result{output, err})
		j.end()
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
	j.abandon()
	return Output{}, &fault.Error{Kind: fault.Throttled, RetryAfter: retryAfterStuck, Cause: ctx.Err(),
		Doing: "decoding takes longer than " + limits.Duration(p.time),
		Next:  "if this persists, store a simpler object: fewer or smaller keys, certificates and expressions"}
}

// job is one decode in a goroutine, with its worker.
type job struct {
	pool      *Pool
	namespace string
	timer     *time.Timer
	// abandoned and ended are guarded by the pool's lock.
	abandoned, ended bool
}

// abandon releases the worker although the goroutine still runs. With limits.AllStuckDecodes such goroutines, workers
// stay occupied, because more goroutines would only compete for the CPU.
func (j *job) abandon() {
	p := j.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tenants[j.namespace]
	if j.ended || j.abandoned || p.stuck >= limits.AllStuckDecodes {
		return
	}
	j.abandoned = true
	p.stuck++
	t.stuck++
	if err := t.refused(j.namespace); err != nil {
		for _, turn := range t.waiting {
			turn <- err
		}
		t.waiting = nil
		p.skip(j.namespace)
	}
	p.release(j.namespace)
}

// end releases the worker, or removes the job from the stuck ones.
func (j *job) end() {
	p := j.pool
	j.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	j.ended = true
	if !j.abandoned {
		p.release(j.namespace)
		return
	}
	p.stuck--
	p.tenants[j.namespace].stuck--
	p.forget(j.namespace)
}

// safely turns a panic of decode into an error. Decoding reads untrusted input, and a panic would stop the program for
// all namespaces.
func safely(ctx context.Context, decode Decode) (output Output, err error) {
	defer func() {
		if recover() != nil { // the text of the panic can quote a value
			output, err = Output{}, fault.New(fault.Bug, "decoding the object failed unexpectedly")
		}
	}()
	return decode(ctx)
}
