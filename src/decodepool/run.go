package decodepool

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Decode makes an output. It should end when ctx does, and its errors must not quote values.
type Decode func(ctx context.Context) (Output, error)

// result is what a Decode gave.
type result struct {
	output Output
	err    error
}

// Do gives the output that is remembered for the key, or runs decode in one of the namespace's workers. What decode
// gives is remembered, also an error that the same input would have again. The output is the caller's own.
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
	if r, ok := s.pool.recall(key); ok { // another one made it meanwhile
		s.pool.mu.Lock()
		s.pool.release(s.namespace)
		s.pool.mu.Unlock()
		return r.output, r.err
	}
	return s.pool.run(ctx, s.namespace, key, decode)
}

// run decodes in a goroutine, and waits for it no longer than decoding may take.
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
		Next:  "if this stays so, store a simpler object: fewer or smaller keys, certificates and expressions"}
}

// job is a goroutine that decodes, with the worker that it holds.
type job struct {
	pool      *Pool
	namespace string
	timer     *time.Timer
	// abandoned and ended are guarded by the pool's lock.
	abandoned, ended bool
}

// abandon gives the worker to others although the goroutine has not ended. When too many have not, workers are kept:
// the processor has no more.
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

// end gives the worker back, or what was abandoned.
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

// safely keeps the program alive: decoding reads what strangers wrote, and a panic would end every other tenant's work
// too.
func safely(ctx context.Context, decode Decode) (output Output, err error) {
	defer func() {
		if recover() != nil { // what it says may quote a value
			output, err = Output{}, fault.New(fault.Bug, "decoding the object failed unexpectedly")
		}
	}()
	return decode(ctx)
}
