package breaker

import (
	"context"
	"sync"
	"time"
)

// namespaceSlots limits concurrent calls. Namespaces share the slots: a namespace that holds its share waits, and a
// free slot goes to the namespace that holds the fewest, among equals to the oldest waiter. It is safe for concurrent
// use.
type namespaceSlots struct {
	mu   sync.Mutex
	free int
	// maxPerNamespace limits the slots of one namespace.
	maxPerNamespace int
	heldByNamespace map[string]int
	// waiters lists the waiters, oldest first.
	waiters []*slotWaiter
}

// slotWaiter is a waiter for a slot.
type slotWaiter struct {
	namespace string
	granted   chan struct{}
}

// acquireSlot waits for a slot up to the timeout, and reports whether it got one.
func (s *namespaceSlots) acquireSlot(ctx context.Context, namespace string) bool {
	s.mu.Lock()
	one := &slotWaiter{namespace: namespace, granted: make(chan struct{})}
	s.waiters = append(s.waiters, one)
	s.grantFreeSlots()
	s.mu.Unlock()
	timer := time.NewTimer(slotWaitTimeout)
	defer timer.Stop()
	select {
	case <-one.granted:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.cancelWait(one)
}

// cancelWait removes a waiter. It reports true if the slot was granted meanwhile.
func (s *namespaceSlots) cancelWait(one *slotWaiter) (granted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.waiters {
		if other == one {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return false
		}
	}
	return true
}

// releaseSlot returns a slot.
func (s *namespaceSlots) releaseSlot(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.heldByNamespace[namespace]--; s.heldByNamespace[namespace] == 0 {
		delete(s.heldByNamespace, namespace)
	}
	s.grantFreeSlots()
}

// grantFreeSlots assigns the free slots to waiters; the caller holds mu.
func (s *namespaceSlots) grantFreeSlots() {
	for s.free > 0 {
		best := -1
		for i, one := range s.waiters {
			if held := s.heldByNamespace[one.namespace]; held < s.maxPerNamespace &&
				(best < 0 || held < s.heldByNamespace[s.waiters[best].namespace]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		one := s.waiters[best]
		s.waiters = append(s.waiters[:best], s.waiters[best+1:]...)
		s.free--
		s.heldByNamespace[one.namespace]++
		close(one.granted)
	}
}
