package timing

import (
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Next returns the first refresh time of a resource after now. Each resource has a fixed offset in the interval that
// depends only on its uid. Refreshes of many resources are therefore spread over the interval, even if all of them were
// created at the same time, and after a restart of the controller.
func Next(uid types.UID, interval time.Duration, now time.Time) time.Time {
	at := now.Truncate(interval).Add(time.Duration(phase(uid) % uint64(interval)))
	if !at.After(now) {
		at = at.Add(interval)
	}
	return at
}

func phase(uid types.UID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid))
	return h.Sum64() >> 1
}

// longestSpread is the maximum jitter.
const longestSpread = 10 * time.Second

// Spread adds a delay that depends on the uid, so that resources that wait for the same event don't all retry at once.
// It adds at most the delay itself, and at most 10 seconds.
func Spread(uid types.UID, wait time.Duration) time.Duration {
	return wait + time.Duration(phase(uid)%uint64(min(max(wait, 1), longestSpread)))
}

// backoff is an exponential backoff: the delay doubles from the initial to the maximum delay.
type backoff struct {
	first, longest time.Duration
	// settling is the time after the first failure during which no delay exceeds one minute.
	settling time.Duration
}

func (b backoff) after(failures int) time.Duration {
	wait, passed := b.first, time.Duration(0)
	for range failures {
		passed += wait
		if wait *= 2; wait > time.Minute && passed < b.settling {
			wait = time.Minute
		}
		if wait >= b.longest {
			return b.longest
		}
	}
	return wait
}

// settling is how long Azure can take to apply a new role or federated credential. Retries stay frequent for that time,
// because a user may be waiting for a role that was just assigned.
const settling = 10 * time.Minute

// Retry returns the delay before the next attempt after a transient failure; failures is the number of earlier
// consecutive failures. The delay is never shorter than the Retry-After of the error. A Retry-After that applies to
// many resources at once is spread over time.
func Retry(uid types.UID, err error, failures int) time.Duration {
	b := backoff{first: 10 * time.Second, longest: 5 * time.Minute} // a conflict over the output
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied:
		b = backoff{2 * time.Second, 5 * time.Minute, settling}
	case fault.Throttled:
		b = backoff{first: 2 * time.Second, longest: time.Minute}
	case fault.Unavailable:
		b = backoff{first: time.Second, longest: 30 * time.Second}
	}
	if asked := fault.RetryAfter(err); asked > b.after(failures) {
		return Spread(uid, asked)
	}
	return b.after(failures)
}

// Since records for each resource when a state began. It is safe for concurrent use; the zero value is empty.
type Since struct {
	mu    sync.Mutex
	known map[types.NamespacedName]time.Time
}

// Is records that the state holds at now, if it is not recorded already, and returns when it began.
func (s *Since) Is(name types.NamespacedName, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.known[name]
	if !ok {
		if s.known == nil {
			s.known = map[types.NamespacedName]time.Time{}
		}
		since, s.known[name] = now, now
	}
	return since
}

// IsNot records that the state has ended.
func (s *Since) IsNot(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}
