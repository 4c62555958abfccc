package governor

import "time"

// span is the time in which Azure counts calls.
const span = 10 * time.Second

// recovery is how long a bucket takes from nothing to its full rate after a refusal.
const recovery = time.Minute

// slowest is the part of the full rate that is always left.
const slowest = 1.0 / 64

// bucket holds the calls that may be made. It is half of the limit in size, and the other half comes in during a span,
// so that no span ever sees more calls than the limit.
type bucket struct {
	size, full float64 // in calls, and in calls a second
	tokens     float64
	at         time.Time
	// low is the rate at the moment at which it was lowered.
	low     float64
	lowered time.Time
}

func newBucket(limit int, now time.Time) bucket {
	half := float64(limit) / 2
	size := max(half, 1)
	return bucket{size: size, full: half / span.Seconds(), tokens: size, at: now, low: half / span.Seconds(),
		lowered: now}
}

// rate grows by the same amount each second until it is full again.
func (b *bucket) rate(now time.Time) float64 {
	return min(b.full, b.low+b.full*now.Sub(b.lowered).Seconds()/recovery.Seconds())
}

func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens = min(b.size, b.tokens+passed*(b.rate(b.at)+b.rate(now))/2)
		b.at = now
	}
}

// wait is how long there is no call to be had.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)/b.rate(now)*float64(time.Second)) + time.Microsecond
}

// slow halves the rate, and takes what was saved.
func (b *bucket) slow(now time.Time) {
	b.fill(now)
	b.low, b.lowered = max(b.rate(now)/2, b.full*slowest), now
	b.tokens = 0
}

// rests says whether nothing was taken lately.
func (b *bucket) rests(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.size && b.rate(now) >= b.full
}
