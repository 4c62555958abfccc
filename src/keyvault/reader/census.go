package reader

import (
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// census tracks the refreshed objects of one list, and decides whether to detect their changes by the list or by
// reading each object. It is not safe for concurrent use.
type census struct {
	watched map[keyvault.Ref]watch
	// intervals counts the objects by refresh interval.
	intervals map[time.Duration]int
	swept     time.Time
	// entries is the number of entries in the last list.
	entries int
	// avoid is the time before which the list is not requested, because it was rejected or invalid.
	avoid time.Time
	// late counts consecutive lists that the rate limit delayed beyond their deadline.
	late int
	// method is the current method of change detection.
	method string
}

type watch struct {
	every time.Duration
	at    time.Time
}

// The methods of change detection: read the list, or read each object.
const (
	byList = "list"
	byGet  = "get"
)

// The cost of a list. A page of a list is one call.
const (
	pageSize = 25
	// fewest is the minimum number of objects for which a list is used.
	fewest = 10
	// gain is the minimum ratio of saved reads to pages of the list.
	gain = 2
	// longestWatch is how long an object stays tracked after its last refresh, in addition to twice its interval.
	longestWatch = time.Minute
)

func newCensus(now time.Time) *census {
	return &census{watched: map[keyvault.Ref]watch{}, intervals: map[time.Duration]int{}, swept: now}
}

// note records a refresh of an object and its interval.
func (c *census) note(ref keyvault.Ref, every time.Duration, now time.Time) {
	c.forget(ref)
	c.watched[ref] = watch{every, now}
	c.intervals[every]++
	if now.Sub(c.swept) >= longestWatch {
		c.sweep(now)
	}
}

// sweep removes objects that are no longer refreshed, and reports whether none is left.
func (c *census) sweep(now time.Time) (empty bool) {
	c.swept = now
	for other, w := range c.watched {
		if now.Sub(w.at) > 2*w.every+longestWatch {
			c.forget(other)
		}
	}
	return len(c.watched) == 0
}

func (c *census) forget(ref keyvault.Ref) {
	w, ok := c.watched[ref]
	if !ok {
		return
	}
	delete(c.watched, ref)
	if c.intervals[w.every]--; c.intervals[w.every] == 0 {
		delete(c.intervals, w.every)
	}
}

// choose returns the method for an object with the given interval. It compares the calls for one list with the reads
// that the list saves in one interval.
func (c *census) choose(every time.Duration, now time.Time) string {
	saved := 0.0
	for other, n := range c.intervals {
		saved += float64(n) * min(1, float64(every)/float64(other))
	}
	pages := max(c.entries, len(c.watched))/pageSize + 1
	if saved < fewest || now.Before(c.avoid) || float64(gain*pages) > saved {
		return byGet
	}
	return byList
}
