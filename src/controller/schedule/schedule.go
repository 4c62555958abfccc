package schedule

import (
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// NextRefresh returns the first refresh time of a resource after now. Each resource has a fixed offset in the interval
// that depends only on its uid. Refreshes of many resources are therefore spread over the interval, even if all of them
// were created at the same time, and after a restart of the controller.
func NextRefresh(uid types.UID, interval time.Duration, now time.Time) time.Time {
	at := now.Truncate(interval).Add(time.Duration(uidHash(uid) % uint64(interval)))
	if !at.After(now) {
		at = at.Add(interval)
	}
	return at
}

func uidHash(uid types.UID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid))
	return h.Sum64() >> 1
}

// maxJitter is the maximum jitter.
const maxJitter = 10 * time.Second

// AddJitter adds a delay that depends on the uid, so that resources that wait for the same event don't all retry at
// once. It adds at most the delay itself, and at most 10 seconds.
func AddJitter(uid types.UID, wait time.Duration) time.Duration {
	return wait + time.Duration(uidHash(uid)%uint64(min(max(wait, 1), maxJitter)))
}

// backoff is an exponential backoff: the delay doubles from the initial to the maximum delay.
type backoff struct {
	initialDelay, maxDelay time.Duration
	// propagationTime is the time after the first failure during which no delay exceeds one minute.
	propagationTime time.Duration
}

func (b backoff) delayAfter(failures int) time.Duration {
	wait, passed := b.initialDelay, time.Duration(0)
	for range failures {
		passed += wait
		if wait *= 2; wait > time.Minute && passed < b.propagationTime {
			wait = time.Minute
		}
		if wait >= b.maxDelay {
			return b.maxDelay
		}
	}
	return wait
}

// rolePropagationTime is how long Azure can take to apply a new role or federated credential. Retries stay frequent for
// that time, because a user may be waiting for a role that was just assigned.
const rolePropagationTime = 10 * time.Minute

// RetryDelay returns the delay before the next attempt after a transient failure; failures is the number of earlier
// consecutive failures. The delay is never shorter than the Retry-After of the error. A Retry-After that applies to
// many resources at once is spread over time.
func RetryDelay(uid types.UID, err error, failures int) time.Duration {
	b := backoff{initialDelay: 10 * time.Second, maxDelay: 5 * time.Minute} // a conflict over the output
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied:
		b = backoff{2 * time.Second, 5 * time.Minute, rolePropagationTime}
	case fault.Throttled:
		b = backoff{initialDelay: 2 * time.Second, maxDelay: time.Minute}
	case fault.Unavailable:
		b = backoff{initialDelay: time.Second, maxDelay: 30 * time.Second}
	}
	if asked := fault.RetryAfter(err); asked > b.delayAfter(failures) {
		return AddJitter(uid, asked)
	}
	return b.delayAfter(failures)
}
