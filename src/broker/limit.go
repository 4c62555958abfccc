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

// shares are the limits that all requests share. Limits before authentication are divided among client addresses,
// limits after it among namespaces.
type shares struct {
	identifications    *fairshare.Pool
	identificationRate *fairshare.Rate
	requests           *fairshare.Pool
	places             *fairshare.Pool
	answers            *fairshare.Pool
	resourceReads      *fairshare.Rate
	pods               *podPlaces
}

func newShares(clock func() time.Time) shares {
	return shares{
		identifications:    fairshare.NewPool(limits.AuthIdentificationsAtOnce),
		identificationRate: fairshare.NewRate(limits.AuthIdentificationsPerSecond, time.Second, clock),
		requests:           fairshare.NewPool(limits.AuthRequestsBytes),
		places:             fairshare.NewPool(limits.AuthPlaces),
		answers:            fairshare.NewPool(limits.AuthAnswersBytes),
		resourceReads:      fairshare.NewRate(limits.AuthResourceReadsPerSecond, time.Second, clock),
		pods:               &podPlaces{taken: map[types.UID]int{}},
	}
}

// podPlaces counts the concurrent requests of each pod, by uid.
type podPlaces struct {
	mu    sync.Mutex
	taken map[types.UID]int
}

func (p *podPlaces) take(pod types.UID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[pod] >= limits.AuthPlacesPerPod {
		return false
	}
	p.taken[pod]++
	return true
}

// leave releases a slot. It forgets a pod without requests, so that the map does not grow.
func (p *podPlaces) leave(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[pod]--; p.taken[pod] == 0 {
		delete(p.taken, pod)
	}
}

// hold acquires n units of a pool until the response is written. It returns false if they are not available.
func (c *call) hold(pool *fairshare.Pool, key string, n int64) bool {
	if !pool.TryAcquire(key, n) {
		return false
	}
	c.held = append(c.held, func() { pool.Release(key, n) })
	return true
}

// takePodPlace acquires a slot of the pod as soon as the pod is authenticated, so that the cost of reading its requests
// limits only the pod itself.
func (c *call) takePodPlace() error {
	if !c.shares.pods.take(c.who.UID) {
		return tooMany("too many concurrent requests from pod %q (limit %d)", c.who.Pod, limits.AuthPlacesPerPod)
	}
	c.held = append(c.held, func() { c.shares.pods.leave(c.who.UID) })
	return nil
}

// takePlace acquires a slot of the namespace, so that a slow vault or many pods of one namespace cannot use up the
// slots of the others.
func (c *call) takePlace() error {
	if !c.hold(c.shares.places, c.who.Namespace, 1) {
		return tooMany("too many concurrent requests from namespace %q (its share of %d)", c.who.Namespace,
			limits.AuthPlaces)
	}
	return nil
}

// holdRequest reserves memory for the request, in bytes, until the response is written.
func (c *call) holdRequest(bytes int) error {
	if !c.hold(c.shares.requests, c.who.Namespace, int64(bytes)) {
		return tooMany("requests of pods in namespace %q hold too much memory (its share of %s)", c.who.Namespace,
			limits.Bytes(limits.AuthRequestsBytes))
	}
	return nil
}

// holdAnswer reserves memory for a value, in bytes, until the response is written.
func (c *call) holdAnswer(bytes int) error {
	if !c.hold(c.shares.answers, c.who.Namespace, int64(bytes)) {
		return tooMany("unread responses to pods in namespace %q hold too much memory (its share of %s)",
			c.who.Namespace, limits.Bytes(limits.AuthAnswersBytes))
	}
	return nil
}

// tooMany returns a fault.Throttled that makes the injector retry after one second.
func tooMany(format string, args ...any) error {
	return &fault.Error{Kind: fault.Throttled, Doing: fmt.Sprintf(format, args...), RetryAfter: time.Second}
}
