package ociimage

import (
	"errors"
	"sync"
	"time"

	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errPaused rejects a call of a host whose circuit breaker is open.
var errPaused = errors.New("the host was not called, because it did not answer the previous calls")

// breaker is a circuit breaker by host. It opens after slow failures alone, because a fast failure delays no pod.
type breaker struct {
	mu    sync.Mutex
	hosts *lru.Cache
}

// hostState is the state of the circuit breaker of one host.
type hostState struct {
	// failures in a row.
	failures int
	// until is when the next call can try the host again. trying is true while that call is in flight.
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

// allow returns errPaused if the host must not be called. Otherwise the caller calls record with the result.
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

// record updates the state with the result of a call that allow permitted.
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
