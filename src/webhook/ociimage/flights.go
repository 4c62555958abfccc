package ociimage

import (
	"context"
	"sync"
)

// flights holds the look-ups in flight. Concurrent callers with the same key share one look-up, which is canceled when
// the last of them stops waiting.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
}

type flight struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{}
	command Command
	err     error
}

// do returns the result of the look-up for the key, and starts it if it is not in flight. The end of the caller's
// context ends the caller's wait, and not the look-up.
func (f *flights) do(ctx context.Context, key string, lookup func(context.Context) (Command, error)) (Command, error) {
	mine := f.join(ctx, key, lookup)
	defer f.leave(key, mine)
	select {
	case <-mine.done:
		return mine.command, mine.err
	case <-ctx.Done():
		return Command{}, ctx.Err()
	}
}

func (f *flights) join(ctx context.Context, key string, lookup func(context.Context) (Command, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.flying[key]; ok {
		known.waiters++
		return known
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	mine := &flight{waiters: 1, cancel: cancel, done: make(chan struct{})}
	if f.flying == nil {
		f.flying = map[string]*flight{}
	}
	f.flying[key] = mine
	go func() {
		defer cancel()
		mine.command, mine.err = lookup(own)
		f.land(key, mine)
		close(mine.done)
	}()
	return mine
}

// leave cancels the look-up if no caller waits for it. The next caller starts another one.
func (f *flights) leave(key string, left *flight) {
	f.mu.Lock()
	left.waiters--
	last := left.waiters == 0
	f.mu.Unlock()
	if last {
		f.land(key, left)
		left.cancel()
	}
}

// land removes the look-up, so the next caller starts another one.
func (f *flights) land(key string, landed *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying[key] == landed {
		delete(f.flying, key)
	}
}
