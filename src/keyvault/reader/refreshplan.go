package reader

import (
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// refreshPlan tracks the refreshed objects of one list, and decides whether to detect their changes by the list or by
// reading each object. It is not safe for concurrent use.
type refreshPlan struct {
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

func newRefreshPlan(now time.Time) *refreshPlan {
	return &refreshPlan{tracked: map[keyvault.Ref]trackedObject{}, countByInterval: map[time.Duration]int{},
		sweptAt: now}
}

// trackObject records a refresh of an object and its interval.
func (c *refreshPlan) trackObject(ref keyvault.Ref, every time.Duration, now time.Time) {
	c.untrackObject(ref)
	c.tracked[ref] = trackedObject{every, now}
	c.countByInterval[every]++
	if now.Sub(c.sweptAt) >= trackingGrace {
		c.removeStale(now)
	}
}

// removeStale removes objects that are no longer refreshed, and reports whether none is left.
func (c *refreshPlan) removeStale(now time.Time) (empty bool) {
	c.sweptAt = now
	for other, w := range c.tracked {
		if now.Sub(w.lastReadAt) > 2*w.interval+trackingGrace {
			c.untrackObject(other)
		}
	}
	return len(c.tracked) == 0
}

func (c *refreshPlan) untrackObject(ref keyvault.Ref) {
	w, ok := c.tracked[ref]
	if !ok {
		return
	}
	delete(c.tracked, ref)
	if c.countByInterval[w.interval]--; c.countByInterval[w.interval] == 0 {
		delete(c.countByInterval, w.interval)
	}
}

// chooseMethod returns the method for an object with the given interval. It compares the calls for one list with the
// reads that the list saves in one interval.
func (c *refreshPlan) chooseMethod(every time.Duration, now time.Time) string {
	saved := 0.0
	for other, n := range c.countByInterval {
		saved += float64(n) * min(1, float64(every)/float64(other))
	}
	pages := max(c.listEntries, len(c.tracked))/listPageSize + 1
	if saved < minObjectsForList || now.Before(c.avoidListUntil) || float64(minListGain*pages) > saved {
		return methodGet
	}
	return methodList
}
