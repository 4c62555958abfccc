package reader

import (
	"time"

	"github.com/akv2k8s/akv2k8s/src/keyvault"
)

// census is what is known of a list: which of its objects are looked at again and again, and whether it is cheaper than
// they are. It is not safe for concurrent use.
type census struct {
	watched map[keyvault.Ref]watch
	// intervals counts them by how often they are looked at.
	intervals map[time.Duration]int
	swept     time.Time
	// entries is the size of the list when it was last seen.
	entries int
	// avoid is until when the list is not asked for, because it was refused or broken.
	avoid time.Time
	// late are the lists in a row that did not come in time because their calls had to wait for others.
	late int
	// method is how changes are found.
	method string
}

type watch struct {
	every time.Duration
	at    time.Time
}

// How changes are found: by the list, or by reading each object.
const (
	byList = "list"
	byGet  = "get"
)

// The cost of a list.
const (
	pageSize = 25
	// fewest objects for which a list is worth the while.
	fewest = 10
	// gain is how many times cheaper it has to be.
	gain = 2
	// longestWatch is how long an object counts after it was last looked at, beyond twice its interval.
	longestWatch = time.Minute
)

func newCensus(now time.Time) *census {
	return &census{watched: map[keyvault.Ref]watch{}, intervals: map[time.Duration]int{}, swept: now}
}

// note says that an object is looked at now, and will be again.
func (c *census) note(ref keyvault.Ref, every time.Duration, now time.Time) {
	c.forget(ref)
	c.watched[ref] = watch{every, now}
	c.intervals[every]++
	if now.Sub(c.swept) >= longestWatch {
		c.sweep(now)
	}
}

// sweep forgets objects that nobody looks at any more, and says whether there are no others.
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

// choose says how changes are found by somebody who looks that often: a list for each interval, or the reads that it
// saves in that time.
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
