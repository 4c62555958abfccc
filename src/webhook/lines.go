package webhook

import (
	"context"
	"sync/atomic"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// lines is a logger with a rate limiter. Anyone who creates pods or reaches the port causes log lines about reviews and
// chooses a part of their text.
type lines struct {
	log     logr.Logger
	limiter *rate.Limiter
	omitted *atomic.Int64
}

// newLines returns a logger that writes a limited number of lines per second.
func newLines(log logr.Logger) *lines {
	return &lines{log: log, limiter: rate.NewLimiter(limits.AdmissionLogRate, limits.AdmissionLogBurst),
		omitted: &atomic.Int64{}}
}

// Info logs a line, with the number of lines that were omitted before it. Above the rate it omits the line.
func (l *lines) Info(message string, keysAndValues ...any) {
	if !l.limiter.Allow() {
		l.omitted.Add(1)
		return
	}
	if omitted := l.omitted.Swap(0); omitted > 0 {
		keysAndValues = append(keysAndValues, "linesOmittedBefore", omitted)
	}
	l.log.Info(message, keysAndValues...)
}

// logs returns the logger for reviews of a known API server, or the one for all other reviews. They have separate rate
// limiters, so that other clients cannot suppress log lines about the API server's reviews.
func (w *Webhook) logs(trusted bool) *lines {
	if trusted {
		return w.trustedLines
	}
	return w.otherLines
}

// trust is the context key for the trust in the sender of a review.
type trust struct{}

// withTrust stores in the context whether a known API server sent the review.
func withTrust(ctx context.Context, trusted bool) context.Context {
	return context.WithValue(ctx, trust{}, trusted)
}

// isTrusted says whether a known API server sent the review.
func isTrusted(ctx context.Context) bool {
	trusted, _ := ctx.Value(trust{}).(bool)
	return trusted
}
