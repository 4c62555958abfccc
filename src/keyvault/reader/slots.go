package reader

import (
	"context"
	"sync"
	"time"
)

// slots limits concurrent calls. Namespaces share the slots: a namespace that holds its share waits, and a free slot
// goes to the namespace that holds the fewest, among equals to the oldest waiter. It is safe for concurrent use.
type slots struct {
	mu   sync.Mutex
	free int
	// share limits the slots of one namespace.
	share int
	held  map[string]int
	// waiting lists the waiters, oldest first.
	waiting []*seeker
}

// seeker is a waiter for a slot.
type seeker struct {
	namespace string
	granted   chan struct{}
}

// acquire waits for a slot up to the timeout, and reports whether it got one.
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

// withdraw removes a waiter. It reports true if the slot was granted meanwhile.
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

// release returns a slot.
func (s *slots) release(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[namespace]--; s.held[namespace] == 0 {
		delete(s.held, namespace)
	}
	s.grant()
}

// grant assigns the free slots to waiters; the caller holds mu.
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
