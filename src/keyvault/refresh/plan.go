package refresh

import (
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// plan tracks the refreshed objects of one list, and decides whether to detect their changes by the list or by
// reading each object. It is not safe for concurrent use.
type plan struct {
	tracked map[keyvault.Ref]trackedObject
	// countByInterval counts the objects by refresh interval.
	countByInterval map[time.Duration]int
	sweptAt         time.Time
	// listEntries is the number of entries in the last list.
	listEntries int
	// avoidListUntil is the time before which the list is not requested, because it was rejected or invalid.
	avoidListUntil time.Time
	// lateLists counts consecutive lists that the rate limit delayed beyond their deadline.
	lateLists int
	// method is the current method of change detection.
	method string
}

type trackedObject struct {
	interval   time.Duration
	lastReadAt time.Time
}

// The methods of change detection: read the list, or read each object.
const (
	methodList = "list"
	methodGet  = "get"
)

// The cost of a list. A page of a list is one call.
const (
	listPageSize = 25
	// minObjectsForList is the minimum number of objects for which a list is used.
	minObjectsForList = 10
	// minListGain is the minimum ratio of saved reads to pages of the list.
	minListGain = 2
	// trackingGrace is how long an object stays tracked after its last refresh, in addition to twice its interval.
	trackingGrace = time.Minute
)

func newPlan(now time.Time) *plan {
	return &plan{tracked: map[keyvault.Ref]trackedObject{}, countByInterval: map[time.Duration]int{},
		sweptAt: now}
}

// trackObject records a refresh of an object and its interval.
func (p *plan) trackObject(ref keyvault.Ref, every time.Duration, now time.Time) {
	p.untrackObject(ref)
	p.tracked[ref] = trackedObject{every, now}
	p.countByInterval[every]++
	if now.Sub(p.sweptAt) >= trackingGrace {
		p.removeStale(now)
	}
}

// removeStale removes objects that are no longer refreshed, and reports whether none is left.
func (p *plan) removeStale(now time.Time) (empty bool) {
	p.sweptAt = now
	for other, w := range p.tracked {
		if now.Sub(w.lastReadAt) > 2*w.interval+trackingGrace {
			p.untrackObject(other)
		}
	}
	return len(p.tracked) == 0
}

func (p *plan) untrackObject(ref keyvault.Ref) {
	w, ok := p.tracked[ref]
	if !ok {
		return
	}
	delete(p.tracked, ref)
	if p.countByInterval[w.interval]--; p.countByInterval[w.interval] == 0 {
		delete(p.countByInterval, w.interval)
	}
}

// chooseMethod returns the method for an object with the given interval. It compares the calls for one list with the
// reads that the list saves in one interval.
func (p *plan) chooseMethod(every time.Duration, now time.Time) string {
	saved := 0.0
	for other, n := range p.countByInterval {
		saved += float64(n) * min(1, float64(every)/float64(other))
	}
	pages := max(p.listEntries, len(p.tracked))/listPageSize + 1
	if saved < minObjectsForList || now.Before(p.avoidListUntil) || float64(minListGain*pages) > saved {
		return methodGet
	}
	return methodList
}
