package ociimage

import (
	"errors"
	"sync"
	"time"

	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errBreakerOpen rejects a call of a host whose circuit breaker is open.
var errBreakerOpen = errors.New("the host was not called, because it did not answer the previous calls")

// circuitBreaker is a circuit breaker by host. It opens after slow failures alone, because a fast failure delays no
// pod.
type circuitBreaker struct {
	mu    sync.Mutex
	hosts *lru.Cache
}

// hostState is the state of the circuit breaker of one host.
type hostState struct {
	// failures in a row.
	failures int
	// retryAt is when the next call can try the host again. trying is true while that call is in flight.
	retryAt time.Time
	probing bool
}

func newCircuitBreaker() *circuitBreaker {
	return &circuitBreaker{hosts: lru.New(limits.ImageBreakerHosts)}
}

func (b *circuitBreaker) hostStateOf(host string) hostState {
	if value, ok := b.hosts.Get(host); ok {
		return value.(hostState)
	}
	return hostState{}
}

// checkCallAllowed returns errBreakerOpen if the host must not be called. Otherwise the caller calls record with the
// result.
func (b *circuitBreaker) checkCallAllowed(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.hostStateOf(host)
	if state.failures < limits.ImageBreakerFailures {
		return nil
	}
	if state.probing || time.Now().Before(state.retryAt) {
		return errBreakerOpen
	}
	state.probing = true
	b.hosts.Add(host, state)
	return nil
}

// recordResult updates the state with the result of a call that allow permitted.
func (b *circuitBreaker) recordResult(host string, waited time.Duration, answered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.hostStateOf(host)
	state.probing = false
	switch {
	case answered:
		b.hosts.Remove(host)
		return
	case waited >= limits.ImageBreakerSlowCall:
		state.failures++
		state.retryAt = time.Now().Add(limits.ImageBreakerPause)
	}
	b.hosts.Add(host, state)
}
