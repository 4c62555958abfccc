package ociimage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errEvicted is the cause of a canceled look-up whose slot went to a waiter.
var errEvicted = errors.New("canceled because other look-ups waited for its slot")

// errQueueFull rejects a look-up of a namespace with too many waiters.
var errQueueFull = errors.New("too many look-ups are waiting")

// places distributes the slots for look-ups among namespaces, and within a namespace among registries. A slow registry
// must not hold a slot while others wait, so a look-up keeps its slot for limits.ImageLookupGrace; then a waiter can
// take it.
type places struct {
	mu sync.Mutex
	// held are the look-ups in flight, the oldest first. waiting are the waiters in order of arrival.
	held, waiting []*place
}

// place is the slot of one look-up.
type place struct {
	namespace, registry string
	since               time.Time
	granted             chan struct{}
	evict               context.CancelCauseFunc
	// grace fires when a waiter can take the slot.
	grace *time.Timer
}

// acquire waits for a slot. It returns a context that ends with the cause errEvicted when the slot goes to another
// look-up, and the function that releases the slot.
func (p *places) acquire(ctx context.Context, namespace, registry string) (context.Context, func(), error) {
	own, evict := context.WithCancelCause(ctx)
	mine := &place{namespace: namespace, registry: registry, granted: make(chan struct{}), evict: evict}
	if !p.enqueue(mine) {
		evict(nil)
		return nil, nil, errQueueFull
	}
	select {
	case <-mine.granted:
		return own, func() { p.release(mine) }, nil
	case <-ctx.Done():
		p.release(mine)
		return nil, nil, context.Cause(ctx)
	}
}

func (p *places) enqueue(mine *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if count(p.waiting, mine.inNamespace) >= limits.ImageLookupsWaiting {
		return false
	}
	p.waiting = append(p.waiting, mine)
	p.dispatch()
	return true
}

// release returns a slot, or removes a waiter from the queue.
func (p *places) release(mine *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(mine)
	p.dispatch()
}

func (p *places) remove(one *place) {
	same := func(other *place) bool { return other == one }
	p.held, p.waiting = slices.DeleteFunc(p.held, same), slices.DeleteFunc(p.waiting, same)
	if one.grace != nil {
		one.grace.Stop()
	}
	one.evict(nil)
}

// dispatch starts every waiter for which a slot is free, and cancels look-ups past their grace for the other waiters.
func (p *places) dispatch() {
	for next := p.next(); next != nil; next = p.next() {
		p.start(next)
	}
	waiting := slices.Clone(p.waiting)
	slices.SortStableFunc(waiting, func(a, b *place) int {
		return count(p.held, a.inNamespace) - count(p.held, b.inNamespace)
	})
	for _, waiter := range waiting {
		victim := p.victim(waiter)
		if victim == nil {
			continue
		}
		victim.evict(errEvicted)
		p.remove(victim)
		p.start(waiter)
	}
}

func (p *places) start(waiter *place) {
	p.waiting = slices.DeleteFunc(p.waiting, func(other *place) bool { return other == waiter })
	waiter.since = time.Now()
	waiter.grace = time.AfterFunc(limits.ImageLookupGrace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dispatch()
	})
	p.held = append(p.held, waiter)
	close(waiter.granted)
}

// next returns the waiter to start: in the namespace with the fewest look-ups in flight, the registry with the fewest,
// and the oldest waiter of that registry. It returns nil if no slot is free.
func (p *places) next() *place {
	if len(p.held) >= limits.ImageLookups {
		return nil
	}
	var best *place
	fewest := [2]int{}
	for _, waiter := range p.waiting {
		inFlight := [2]int{count(p.held, waiter.inNamespace), count(p.held, waiter.inRegistry)}
		if inFlight[0] >= limits.ImageLookupsPerNamespace || inFlight[1] >= limits.ImageLookupsPerRegistry {
			continue
		}
		if best == nil || slices.Compare(inFlight[:], fewest[:]) < 0 {
			best, fewest = waiter, inFlight
		}
	}
	return best
}

// victim returns the oldest look-up past its grace whose slot the waiter can take, or nil. A waiter never takes the
// slot of a look-up at the same registry when that registry has all of its slots: a slow registry delays only its own
// images.
func (p *places) victim(waiter *place) *place {
	own := count(p.held, waiter.inNamespace)
	if count(p.held, waiter.inRegistry) >= limits.ImageLookupsPerRegistry {
		return nil
	}
	for _, one := range p.held {
		if time.Since(one.since) < limits.ImageLookupGrace {
			return nil // the others are younger
		}
		same := waiter.inNamespace(one)
		if own >= limits.ImageLookupsPerNamespace && same || own < limits.ImageLookupsPerNamespace &&
			(same || count(p.held, one.inNamespace) > own) {
			return one
		}
	}
	return nil
}

func (p *place) inNamespace(other *place) bool { return other.namespace == p.namespace }

func (p *place) inRegistry(other *place) bool {
	return other.namespace == p.namespace && other.registry == p.registry
}

func count(all []*place, is func(*place) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}
