package ociimage

import (
	"errors"
	"sync"
	"time"

	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errPaused says that a host is not called because it did not answer before.
var errPaused = errors.New("the host was not called, because it did not answer the calls before")

// breaker stops calls of hosts that keep callers waiting in vain. Fast failures never stop a host: they cost no time.
type breaker struct {
	mu    sync.Mutex
	hosts *lru.Cache
}

// hostState is what is remembered of a host.
type hostState struct {
	// failures in a row.
	failures int
	// until is when a call may try the host again; trying says that one does.
	until  time.Time
	trying bool
}

func newBreaker() *breaker { return &breaker{hosts: lru.New(limits.ImageBreakerHosts)} }

func (b *breaker) state(host string) hostState {
	if value, ok := b.hosts.Get(host); ok {
		return value.(hostState)
	}
	return hostState{}
}

// allow says whether the host may be called; record has to follow if it may.
func (b *breaker) allow(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.state(host)
	if state.failures < limits.ImageBreakerFailures {
		return nil
	}
	if state.trying || time.Now().Before(state.until) {
		return errPaused
	}
	state.trying = true
	b.hosts.Add(host, state)
	return nil
}

// record takes the result of a call that allow permitted.
func (b *breaker) record(host string, waited time.Duration, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.state(host)
	state.trying = false
	switch {
	case answered:
		b.hosts.Remove(host)
		return
	case waited >= limits.ImageBreakerWait:
		state.failures++
		state.until = time.Now().Add(limits.ImageBreakerPause)
	}
	b.hosts.Add(host, state)
}
