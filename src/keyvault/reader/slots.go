package reader

import (
	"context"
	"sync"
	"time"
)

// slots are places for calls that are on their way. Namespaces share them: one that has its share waits, and a place
// that becomes free goes to the namespace that holds the fewest, and of equal ones to whoever waits longest. It is safe
// for concurrent use.
type slots struct {
	mu   sync.Mutex
	free int
	// share is the most that one namespace holds.
	share int
	held  map[string]int
	// waiting has the oldest first.
	waiting []*seeker
}

// seeker waits for a place.
type seeker struct {
	namespace string
	granted   chan struct{}
}

// acquire takes a place, and waits for it no longer than patience.
func (s *slots) acquire(ctx context.Context, namespace string) bool {
	s.mu.Lock()
	one := &seeker{namespace: namespace, granted: make(chan struct{})}
	s.waiting = append(s.waiting, one)
	s.grant()
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-one.granted:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.withdraw(one)
}

// withdraw gives up waiting, unless the place came meanwhile.
func (s *slots) withdraw(one *seeker) (granted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.waiting {
		if other == one {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return false
		}
	}
	return true
}

// release gives a place back.
func (s *slots) release(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[namespace]--; s.held[namespace] == 0 {
		delete(s.held, namespace)
	}
	s.grant()
}

// grant gives out the places that are free; the caller holds mu.
func (s *slots) grant() {
	for s.free > 0 {
		best := -1
		for i, one := range s.waiting {
			if held := s.held[one.namespace]; held < s.share && (best < 0 || held < s.held[s.waiting[best].namespace]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		one := s.waiting[best]
		s.waiting = append(s.waiting[:best], s.waiting[best+1:]...)
		s.free--
		s.held[one.namespace]++
		close(one.granted)
	}
}
