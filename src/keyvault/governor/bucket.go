package governor

import "time"

// span is the period for which Azure counts calls.
const span = 10 * time.Second

// recovery is the time in which the rate grows from zero to the full rate after a 429.
const recovery = time.Minute

// slowest is the fraction of the full rate that always remains.
const slowest = 1.0 / 64

// bucket is a token bucket. Its capacity is half of the limit, and the other half is refilled within the ten seconds of
// Azure's limit, so no ten seconds have more calls than the limit.
type bucket struct {
	size, full float64 // in calls, and in calls per second
	tokens     float64
	at         time.Time
	// low is the rate after the last reduction.
	low     float64
	lowered time.Time
}

func newBucket(limit int, now time.Time) bucket {
	half := float64(limit) / 2
	size := max(half, 1)
	return bucket{size: size, full: half / span.Seconds(), tokens: size, at: now, low: half / span.Seconds(),
		lowered: now}
}

// rate returns the current rate in calls per second. It grows linearly until it reaches the full rate.
func (b *bucket) rate(now time.Time) float64 {
	return min(b.full, b.low+b.full*now.Sub(b.lowered).Seconds()/recovery.Seconds())
}

func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens = min(b.size, b.tokens+passed*(b.rate(b.at)+b.rate(now))/2)
		b.at = now
	}
}

// wait returns the time until the next token is available; zero if one is available now.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)/b.rate(now)*float64(time.Second)) + time.Microsecond
}

// slow halves the rate and empties the bucket.
func (b *bucket) slow(now time.Time) {
	b.fill(now)
	b.low, b.lowered = max(b.rate(now)/2, b.full*slowest), now
	b.tokens = 0
}

// rests reports whether the bucket is full and at its full rate.
func (b *bucket) rests(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.size && b.rate(now) >= b.full
}
