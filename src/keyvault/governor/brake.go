package governor

import (
	"math"
	"time"
)

const (
	// patience is how long a brake takes to try twice as much.
	patience = 2 * time.Minute
	// least is the part of the full rate that a brake always leaves.
	least = 1.0 / 16
	// burst is what may be saved up while a brake is on.
	burst = time.Second
)

// brake holds back what is not urgent at a vault that refuses. Other processes call the same vault, and their pods may
// be starting: so what only looks whether something changed goes down to half of what this process called in fact,
// however much more its limit allows, and takes long to try more.
type brake struct {
	full float64 // in calls a second
	// low is the rate at the moment at which it was lowered; the zero moment is of a brake that is off.
	low     float64
	lowered time.Time
	tokens  float64
	at      time.Time
	// recent are the calls of the last span, of which older ones count less.
	recent float64
	seen   time.Time
}

// rate is how many calls it leaves in a second.
func (b *brake) rate(now time.Time) float64 {
	return min(b.full, b.low*math.Exp2(now.Sub(b.lowered).Seconds()/patience.Seconds()))
}

func (b *brake) on(now time.Time) bool { return !b.lowered.IsZero() && b.rate(now) < b.full }

// wait is how long no call that is not urgent may be made.
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

// lately are the calls of the last span.
func (b *brake) lately(now time.Time) float64 {
	return b.recent * math.Exp(-now.Sub(b.seen).Seconds()/span.Seconds())
}

// slow is for a refusal.
func (b *brake) slow(now time.Time) {
	rate := b.lately(now) / span.Seconds()
	if b.on(now) {
		rate = min(rate, b.rate(now))
	}
	b.low = min(b.full, max(rate/2, b.full*least))
	b.lowered, b.at, b.tokens = now, now, 0
}
