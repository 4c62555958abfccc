package ociimage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// errEvicted ends a look-up whose place was given to one that waited.
var errEvicted = errors.New("ended because others waited for its place")

// errQueueFull says that too many look-ups of a namespace wait already.
var errQueueFull = errors.New("too many look-ups wait")

// places shares the look-ups in flight among namespaces, and within a namespace among registries. A look-up waits for
// somebody else's network, so its place is safe only for limits.ImageLookupGrace: after that it goes to a look-up that
// waits.
type places struct {
	mu sync.Mutex
	// held are look-ups in flight, the oldest first; waiting are in the order of their arrival.
	held, waiting []*place
}

// place belongs to one look-up.
type place struct {
	namespace, registry string
	since               time.Time
	granted             chan struct{}
	evict               context.CancelCauseFunc
	// grace runs when the place may go to others.
	grace *time.Timer
}

// acquire waits for a place. The returned context ends with the cause errEvicted when the place goes to another
// look-up.
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

// release gives back a place, or leaves the queue.
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

// dispatch starts every look-up that has room, and makes room by ending look-ups that kept others waiting too long.
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

// next is the look-up to start: of the namespace with the fewest in flight, there the registry with the fewest, there
// the oldest.
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

// victim is the oldest look-up past its grace whose end lets the waiter start. What a registry's own look-ups hold
// stays with them: a registry that is slow delays nothing but itself.
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
