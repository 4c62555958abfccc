package timing

import (
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/src/fault"
)

// Next is the first moment after now that is the resource's own in the interval. It depends on the uid alone, so the
// looks of many resources are spread over the interval, also after all were created at once and after a restart.
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

// longestSpread bounds how far those who wait for the same thing are spread.
const longestSpread = 10 * time.Second

// Spread makes a wait up to twice as long, by the uid, so that not all come back in one moment.
func Spread(uid types.UID, wait time.Duration) time.Duration {
	return wait + time.Duration(phase(uid)%uint64(min(max(wait, 1), longestSpread)))
}

// backoff is the first wait after a failure and the longest; it doubles in between.
type backoff struct {
	first, longest time.Duration
	// settling is for how long no wait is longer than a minute.
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

// settling is how long Azure may take to put a role or an assignment into force. Whoever granted one a minute ago waits
// for us.
const settling = 10 * time.Minute

// Retry is the wait after a failure that may mend itself, with so many of the same kind before it; never shorter than
// what the error asks for. What many resources were asked for at once is spread.
func Retry(uid types.UID, err error, failures int) time.Duration {
	b := backoff{first: 10 * time.Second, longest: 5 * time.Minute} // somebody else has the output
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

// Since remembers since when something is so, for each resource. It is safe for concurrent use; the zero value is
// empty.
type Since struct {
	mu    sync.Mutex
	known map[types.NamespacedName]time.Time
}

// Is notes that it is so, and says since when it is.
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

// IsNot notes that it is not, or no longer.
func (s *Since) IsNot(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}
