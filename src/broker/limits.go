package broker

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// requestLimiters are the limits that all requests share. Limits before authentication are divided among client
// addresses, limits after it among namespaces.
type requestLimiters struct {
	identificationSlots *fairshare.Pool
	identificationRate  *fairshare.RateLimiter
	requestMemory       *fairshare.Pool
	requestSlots        *fairshare.Pool
	responseMemory      *fairshare.Pool
	resourceReadRate    *fairshare.RateLimiter
	podSlots            *podSlotCounter
}

func newRequestLimiters(clock func() time.Time) requestLimiters {
	return requestLimiters{
		identificationSlots: fairshare.NewPool(limits.AuthIdentificationsAtOnce),
		identificationRate:  fairshare.NewRateLimiter(limits.AuthIdentificationsPerSecond, time.Second, clock),
		requestMemory:       fairshare.NewPool(limits.AuthRequestsBytes),
		requestSlots:        fairshare.NewPool(limits.AuthSlots),
		responseMemory:      fairshare.NewPool(limits.AuthAnswersBytes),
		resourceReadRate:    fairshare.NewRateLimiter(limits.AuthResourceReadsPerSecond, time.Second, clock),
		podSlots:            &podSlotCounter{inUse: map[types.UID]int{}},
	}
}

// podSlotCounter counts the concurrent requests of each pod, by uid.
type podSlotCounter struct {
	mu    sync.Mutex
	inUse map[types.UID]int
}

func (p *podSlotCounter) tryAcquire(pod types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inUse[pod] >= limits.AuthSlotsPerPod {
		return false
	}
	p.inUse[pod]++
	return true
}

// release releases a slot. It forgets a pod without requests, so that the map does not grow.
func (p *podSlotCounter) release(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inUse[pod]--; p.inUse[pod] == 0 {
		delete(p.inUse, pod)
	}
}

// acquireForRequest acquires n units of a pool until the response is written. It returns false if they are not
// available.
func (c *podRequest) acquireForRequest(pool *fairshare.Pool, key string, n int64) bool {
	if !pool.TryAcquire(key, n) {
		return false
	}
	c.releaseFuncs = append(c.releaseFuncs, func() { pool.Release(key, n) })
	return true
}

// acquirePodSlot acquires a slot of the pod as soon as the pod is authenticated, so that the cost of reading its
// requests limits only the pod itself.
func (c *podRequest) acquirePodSlot() error {
	if !c.limiters.podSlots.tryAcquire(c.caller.UID) {
		return throttledError("too many concurrent requests from pod %q (limit %d)", c.caller.Pod,
			limits.AuthSlotsPerPod)
	}
	c.releaseFuncs = append(c.releaseFuncs, func() { c.limiters.podSlots.release(c.caller.UID) })
	return nil
}

// acquireNamespaceSlot acquires a slot of the namespace, so that a slow vault or many pods of one namespace cannot use
// up the slots of the others.
func (c *podRequest) acquireNamespaceSlot() error {
	if !c.acquireForRequest(c.limiters.requestSlots, c.caller.Namespace, 1) {
		return throttledError("too many concurrent requests from namespace %q (its share of %d)", c.caller.Namespace,
			limits.AuthSlots)
	}
	return nil
}

// reserveRequestMemory reserves memory for the request, in bytes, until the response is written.
func (c *podRequest) reserveRequestMemory(bytes int) error {
	if !c.acquireForRequest(c.limiters.requestMemory, c.caller.Namespace, int64(bytes)) {
		return throttledError("requests of pods in namespace %q hold too much memory (its share of %s)",
			c.caller.Namespace,
			limits.Bytes(limits.AuthRequestsBytes))
	}
	return nil
}

// reserveResponseMemory reserves memory for a vault object or a value, in bytes, until the response is written.
func (c *podRequest) reserveResponseMemory(bytes int) error {
	if !c.acquireForRequest(c.limiters.responseMemory, c.caller.Namespace, int64(bytes)) {
		return throttledError("values for pods in namespace %q hold too much memory (its share of %s)",
			c.caller.Namespace, limits.Bytes(limits.AuthAnswersBytes))
	}
	return nil
}

// throttledError returns a fault.Throttled that makes the injector retry after one second.
func throttledError(format string, args ...any) error {
	return &fault.Error{Kind: fault.Throttled, Operation: fmt.Sprintf(format, args...), RetryAfter: time.Second}
}
