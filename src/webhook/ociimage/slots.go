package ociimage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errSlotReclaimed is the cause of a canceled look-up whose slot went to a waiter.
var errSlotReclaimed = errors.New("canceled because other look-ups waited for its slot")

// errQueueFull rejects a look-up of a namespace with too many waiters.
var errQueueFull = errors.New("too many look-ups are waiting")

// lookupSlots distributes the slots for look-ups among namespaces, and within a namespace among registries. A slow
// registry must not hold a slot while others wait, so a look-up keeps its slot for limits.ImageLookupGrace; then a
// waiter can take it.
type lookupSlots struct {
	mu sync.Mutex
	// active are the look-ups in flight, the oldest first. waiting are the waiters in order of arrival.
	active, waiting []*lookupSlot
}

// lookupSlot is the slot of one look-up.
type lookupSlot struct {
	namespace, registry string
	startedAt           time.Time
	granted             chan struct{}
	cancel              context.CancelCauseFunc
	// graceTimer fires when a waiter can take the slot.
	graceTimer *time.Timer
}

// acquireSlot waits for a slot. It returns a context that ends with the cause errSlotReclaimed when the slot goes to
// another look-up, and the function that releases the slot.
func (p *lookupSlots) acquireSlot(ctx context.Context, namespace, registry string) (context.Context, func(), error) {
	own, evict := context.WithCancelCause(ctx)
	mine := &lookupSlot{namespace: namespace, registry: registry, granted: make(chan struct{}), cancel: evict}
	if !p.enqueueWaiter(mine) {
		evict(nil)
		return nil, nil, errQueueFull
	}
	select {
	case <-mine.granted:
		return own, func() { p.releaseSlot(mine) }, nil
	case <-ctx.Done():
		p.releaseSlot(mine)
		return nil, nil, context.Cause(ctx)
	}
}

func (p *lookupSlots) enqueueWaiter(mine *lookupSlot) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if countSlots(p.waiting, mine.isSameNamespace) >= limits.ImageLookupsWaiting {
		return false
	}
	p.waiting = append(p.waiting, mine)
	p.startWaiters()
	return true
}

// releaseSlot returns a slot, or removes a waiter from the queue.
func (p *lookupSlots) releaseSlot(mine *lookupSlot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeSlot(mine)
	p.startWaiters()
}

func (p *lookupSlots) removeSlot(one *lookupSlot) {
	same := func(other *lookupSlot) bool { return other == one }
	p.active, p.waiting = slices.DeleteFunc(p.active, same), slices.DeleteFunc(p.waiting, same)
	if one.graceTimer != nil {
		one.graceTimer.Stop()
	}
	one.cancel(nil)
}

// startWaiters starts every waiter for which a slot is free, and cancels look-ups past their grace for the other
// waiters.
func (p *lookupSlots) startWaiters() {
	for next := p.nextWaiter(); next != nil; next = p.nextWaiter() {
		p.startLookup(next)
	}
	waiting := slices.Clone(p.waiting)
	slices.SortStableFunc(waiting, func(a, b *lookupSlot) int {
		return countSlots(p.active, a.isSameNamespace) - countSlots(p.active, b.isSameNamespace)
	})
	for _, waiter := range waiting {
		victim := p.slotToReclaim(waiter)
		if victim == nil {
			continue
		}
		victim.cancel(errSlotReclaimed)
		p.removeSlot(victim)
		p.startLookup(waiter)
	}
}

func (p *lookupSlots) startLookup(waiter *lookupSlot) {
	p.waiting = slices.DeleteFunc(p.waiting, func(other *lookupSlot) bool { return other == waiter })
	waiter.startedAt = time.Now()
	waiter.graceTimer = time.AfterFunc(limits.ImageLookupGrace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.startWaiters()
	})
	p.active = append(p.active, waiter)
	close(waiter.granted)
}

// nextWaiter returns the waiter to start: in the namespace with the fewest look-ups in flight, the registry with the
// fewest, and the oldest waiter of that registry. It returns nil if no slot is free.
func (p *lookupSlots) nextWaiter() *lookupSlot {
	if len(p.active) >= limits.ImageLookups {
		return nil
	}
	var best *lookupSlot
	fewest := [2]int{}
	for _, waiter := range p.waiting {
		inFlight := [2]int{countSlots(p.active, waiter.isSameNamespace), countSlots(p.active, waiter.isSameRegistry)}
		if inFlight[0] >= limits.ImageLookupsPerNamespace || inFlight[1] >= limits.ImageLookupsPerRegistry {
			continue
		}
		if best == nil || slices.Compare(inFlight[:], fewest[:]) < 0 {
			best, fewest = waiter, inFlight
		}
	}
	return best
}

// slotToReclaim returns the oldest look-up past its grace whose slot the waiter can take, or nil. A waiter never takes
// the slot of a look-up at the same registry when that registry has all of its slots: a slow registry delays only its
// own images.
func (p *lookupSlots) slotToReclaim(waiter *lookupSlot) *lookupSlot {
	own := countSlots(p.active, waiter.isSameNamespace)
	if countSlots(p.active, waiter.isSameRegistry) >= limits.ImageLookupsPerRegistry {
		return nil
	}
	for _, one := range p.active {
		if time.Since(one.startedAt) < limits.ImageLookupGrace {
			return nil // the others are younger
		}
		same := waiter.isSameNamespace(one)
		if own >= limits.ImageLookupsPerNamespace && same || own < limits.ImageLookupsPerNamespace &&
			(same || countSlots(p.active, one.isSameNamespace) > own) {
			return one
		}
	}
	return nil
}

func (p *lookupSlot) isSameNamespace(other *lookupSlot) bool { return other.namespace == p.namespace }

func (p *lookupSlot) isSameRegistry(other *lookupSlot) bool {
	return other.namespace == p.namespace && other.registry == p.registry
}

func countSlots(all []*lookupSlot, is func(*lookupSlot) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}
