package governor

import (
	"math"
	"time"
)

const (
	// patience is the time in which the rate of refreshes doubles.
	patience = 2 * time.Minute
	// least is the fraction of the full rate that always remains for refreshes.
	least = 1.0 / 16
	// burst is the time for which unused refreshes accumulate.
	burst = time.Second
)

// brake slows down refreshes of a vault that returned a 429. Other processes call the same vault, and their pods can be
// starting. Refreshes are therefore reduced to half of the rate that this process had in fact, even if its limit is
// much higher, and the rate increases slowly.
type brake struct {
	full float64 // in calls per second
	// low is the rate after the last reduction. The brake is inactive if there was no reduction.
	low     float64
	lowered time.Time
	tokens  float64
	at      time.Time
	// recent is the number of calls in the last ten seconds as of lastCallAt, with an exponentially lower weight for
	// older calls.
	recent float64
	seen   time.Time
}

// rate returns the current rate of refreshes in calls per second.
func (b *brake) rate(now time.Time) float64 {
	return min(b.full, b.low*math.Exp2(now.Sub(b.lowered).Seconds()/patience.Seconds()))
}

func (b *brake) on(now time.Time) bool { return !b.lowered.IsZero() && b.rate(now) < b.full }

// wait returns the time until the next refresh is allowed; zero if one is allowed now.
func (b *brake) wait(now time.Time) time.Duration {
	if !b.on(now) {
		return 0
	}
	rate := b.rate(now)
	b.tokens = min(max(1, rate*burst.Seconds()), b.tokens+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)/rate*float64(time.Second)) + time.Microsecond
}

// called counts a call.
func (b *brake) called(now time.Time, urgent bool) {
	b.recent, b.seen = b.lately(now)+1, now
	if !urgent {
		b.tokens--
	}
}

// lately returns the weighted number of calls in the last ten seconds.
func (b *brake) lately(now time.Time) float64 {
	return b.recent * math.Exp(-now.Sub(b.seen).Seconds()/span.Seconds())
}

// slow reduces the rate after a 429.
func (b *brake) slow(now time.Time) {
	rate := b.lately(now) / span.Seconds()
	if b.on(now) {
		rate = min(rate, b.rate(now))
	}
	b.low = min(b.full, max(rate/2, b.full*least))
	b.lowered, b.at, b.tokens = now, now, 0
}
