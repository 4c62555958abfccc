package ociimage

import (
	"context"
	"sync"
)

// inFlightCalls holds the look-ups in flight. Concurrent callers with the same key share one look-up, which is canceled
// when the last of them stops waiting.
type inFlightCalls struct {
	mu         sync.Mutex
	callsByKey map[string]*inFlightCall
}

type inFlightCall struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{}
	command Command
	err     error
}

// shareCall returns the result of the look-up for the key, and starts it if it is not in flight. The end of the
// caller's context ends the caller's wait, and not the look-up.
func (f *inFlightCalls) shareCall(ctx context.Context, key string,
	lookup func(context.Context) (Command, error)) (Command, error) {
	mine := f.joinOrStart(ctx, key, lookup)
	defer f.leaveCall(key, mine)
	select {
	case <-mine.done:
		return mine.command, mine.err
	case <-ctx.Done():
		return Command{}, ctx.Err()
	}
}

func (f *inFlightCalls) joinOrStart(ctx context.Context, key string,
	lookup func(context.Context) (Command, error)) *inFlightCall {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.callsByKey[key]; ok {
		known.waiters++
		return known
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	mine := &inFlightCall{waiters: 1, cancel: cancel, done: make(chan struct{})}
	if f.callsByKey == nil {
		f.callsByKey = map[string]*inFlightCall{}
	}
	f.callsByKey[key] = mine
	go func() {
		defer cancel()
		mine.command, mine.err = lookup(own)
		f.forgetCall(key, mine)
		close(mine.done)
	}()
	return mine
}

// leaveCall cancels the look-up if no caller waits for it. The next caller starts another one.
func (f *inFlightCalls) leaveCall(key string, left *inFlightCall) {
	f.mu.Lock()
	left.waiters--
	last := left.waiters == 0
	f.mu.Unlock()
	if last {
		f.forgetCall(key, left)
		left.cancel()
	}
}

// forgetCall removes the look-up, so the next caller starts another one.
func (f *inFlightCalls) forgetCall(key string, landed *inFlightCall) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.callsByKey[key] == landed {
		delete(f.callsByKey, key)
	}
}
