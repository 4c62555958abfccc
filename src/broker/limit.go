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

// shares are what all requests have together. Before it is known who asks, addresses share; then namespaces do.
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

// podPlaces counts the places of each pod.
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

// leave forgets pods of which nothing is worked on.
func (p *podPlaces) leave(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[pod]--; p.taken[pod] == 0 {
		delete(p.taken, pod)
	}
}

// hold takes n units from a pool until the answer is written.
func (c *call) hold(pool *fairshare.Pool, key string, n int64) bool {
	if !pool.TryAcquire(key, n) {
		return false
	}
	c.held = append(c.held, func() { pool.Release(key, n) })
	return true
}

// takePodPlace counts the request of its pod, as soon as that is known: what a pod's requests cost until they are let
// in, its own requests wait for.
func (c *call) takePodPlace() error {
	if !c.shares.pods.take(c.who.UID) {
		return tooMany("too many concurrent requests from pod %q (limit %d)", c.who.Pod, limits.AuthPlacesPerPod)
	}
	c.held = append(c.held, func() { c.shares.pods.leave(c.who.UID) })
	return nil
}

// takePlace counts the request of its namespace, so that a slow vault, or any number of pods, of one don't take the
// places of all others.
func (c *call) takePlace() error {
	if !c.hold(c.shares.places, c.who.Namespace, 1) {
		return tooMany("too many concurrent requests from namespace %q (its share of %d)", c.who.Namespace,
			limits.AuthPlaces)
	}
	return nil
}

// holdRequest takes memory for what is known of a request until the answer is written.
func (c *call) holdRequest(bytes int) error {
	if !c.hold(c.shares.requests, c.who.Namespace, int64(bytes)) {
		return tooMany("the requests of pods of namespace %q hold too much memory (its share of %s)", c.who.Namespace,
			limits.Bytes(limits.AuthRequestsBytes))
	}
	return nil
}

// holdAnswer takes memory for a value until the answer is written.
func (c *call) holdAnswer(bytes int) error {
	if !c.hold(c.shares.answers, c.who.Namespace, int64(bytes)) {
		return tooMany("the answers that pods of namespace %q have not read yet hold too much memory (its share of %s)",
			c.who.Namespace, limits.Bytes(limits.AuthAnswersBytes))
	}
	return nil
}

// tooMany asks the injector to come back in a second.
func tooMany(format string, args ...any) error {
	return &fault.Error{Kind: fault.Throttled, Doing: fmt.Sprintf(format, args...), RetryAfter: time.Second}
}
