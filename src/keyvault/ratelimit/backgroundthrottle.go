package ratelimit

import (
	"math"
	"time"
)

const (
	// rateDoublingTime is the time in which the rate of refreshes doubles.
	rateDoublingTime = 2 * time.Minute
	// minBackgroundFraction is the fraction of the full rate that always remains for refreshes.
	minBackgroundFraction = 1.0 / 16
	// burstTime is the time for which unused refreshes accumulate.
	burstTime = time.Second
)

// backgroundThrottle slows down refreshes of a vault that returned a 429. Other processes call the same vault, and
// their pods can be starting. Refreshes are therefore reduced to half of the rate that this process had in fact, even
// if its limit is much higher, and the rate increases slowly.
type backgroundThrottle struct {
	fullRate float64 // in calls per second
	// loweredRate is the rate after the last reduction. The throttle is inactive if there was no reduction.
	loweredRate float64
	loweredAt   time.Time
	tokens      float64
	filledAt    time.Time
	// recentCalls is the number of calls in the last ten seconds as of lastCallAt, with an exponentially lower weight
	// for older calls.
	recentCalls float64
	lastCallAt  time.Time
}

// rateAt returns the current rate of refreshes in calls per second.
func (b *backgroundThrottle) rateAt(now time.Time) float64 {
	return min(b.fullRate, b.loweredRate*math.Exp2(now.Sub(b.loweredAt).Seconds()/rateDoublingTime.Seconds()))
}

func (b *backgroundThrottle) isActive(now time.Time) bool {
	return !b.loweredAt.IsZero() && b.rateAt(now) < b.fullRate
}

// timeToNextToken returns the time until the next refresh is allowed; zero if one is allowed now.
func (b *backgroundThrottle) timeToNextToken(now time.Time) time.Duration {
	if !b.isActive(now) {
		return 0
	}
	rate := b.rateAt(now)
	b.tokens = min(max(1, rate*burstTime.Seconds()), b.tokens+now.Sub(b.filledAt).Seconds()*rate)
	b.filledAt = now
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)/rate*float64(time.Second)) + time.Microsecond
}

// recordCall counts a call.
func (b *backgroundThrottle) recordCall(now time.Time, urgent bool) {
	b.recentCalls, b.lastCallAt = b.recentCallsAt(now)+1, now
	if !urgent {
		b.tokens--
	}
}

// recentCallsAt returns the weighted number of calls in the last ten seconds.
func (b *backgroundThrottle) recentCallsAt(now time.Time) float64 {
	return b.recentCalls * math.Exp(-now.Sub(b.lastCallAt).Seconds()/limitWindow.Seconds())
}

// slowDown reduces the rate after a 429.
func (b *backgroundThrottle) slowDown(now time.Time) {
	rate := b.recentCallsAt(now) / limitWindow.Seconds()
	if b.isActive(now) {
		rate = min(rate, b.rateAt(now))
	}
	b.loweredRate = min(b.fullRate, max(rate/2, b.fullRate*minBackgroundFraction))
	b.loweredAt, b.filledAt, b.tokens = now, now, 0
}
