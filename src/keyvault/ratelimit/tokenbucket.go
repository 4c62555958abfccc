package ratelimit

import "time"

// limitWindow is the period for which Azure counts calls.
const limitWindow = 10 * time.Second

// recoveryTime is the time in which the rate grows from zero to the full rate after a 429.
const recoveryTime = time.Minute

// minRateFraction is the fraction of the full rate that always remains.
const minRateFraction = 1.0 / 64

// tokenBucket is a token bucket. Its capacity is half of the limit, and the other half is refilled within the ten
// seconds of Azure's limit, so no ten seconds have more calls than the limit.
type tokenBucket struct {
	capacity, fullRate float64 // in calls, and in calls per second
	tokens             float64
	filledAt           time.Time
	// loweredRate is the rate after the last reduction.
	loweredRate float64
	loweredAt   time.Time
}

func newTokenBucket(limit int, now time.Time) tokenBucket {
	half := float64(limit) / 2
	size := max(half, 1)
	return tokenBucket{capacity: size, fullRate: half / limitWindow.Seconds(), tokens: size, filledAt: now,
		loweredRate: half / limitWindow.Seconds(),
		loweredAt:   now}
}

// rateAt returns the current rate in calls per second. It grows linearly until it reaches the full rate.
func (b *tokenBucket) rateAt(now time.Time) float64 {
	return min(b.fullRate, b.loweredRate+b.fullRate*now.Sub(b.loweredAt).Seconds()/recoveryTime.Seconds())
}

func (b *tokenBucket) refillUntil(now time.Time) {
	if passed := now.Sub(b.filledAt).Seconds(); passed > 0 {
		b.tokens = min(b.capacity, b.tokens+passed*(b.rateAt(b.filledAt)+b.rateAt(now))/2)
		b.filledAt = now
	}
}

// timeToNextToken returns the time until the next token is available; zero if one is available now.
func (b *tokenBucket) timeToNextToken(now time.Time) time.Duration {
	b.refillUntil(now)
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1-b.tokens)/b.rateAt(now)*float64(time.Second)) + time.Microsecond
}

// halveRate halves the rate and empties the bucket.
func (b *tokenBucket) halveRate(now time.Time) {
	b.refillUntil(now)
	b.loweredRate, b.loweredAt = max(b.rateAt(now)/2, b.fullRate*minRateFraction), now
	b.tokens = 0
}

// isIdle reports whether the bucket is full and at its full rate.
func (b *tokenBucket) isIdle(now time.Time) bool {
	b.refillUntil(now)
	return b.tokens >= b.capacity && b.rateAt(now) >= b.fullRate
}
