package webhook

import (
	"context"
	"sync/atomic"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// rateLimitedLogger is a logger with a rate limiter. Anyone who creates pods or reaches the port causes log lines about
// reviews and chooses a part of their text.
type rateLimitedLogger struct {
	logger       logr.Logger
	limiter      *rate.Limiter
	omittedLines *atomic.Int64
}

// newRateLimitedLogger returns a logger that writes a limited number of lines per second.
func newRateLimitedLogger(log logr.Logger) *rateLimitedLogger {
	return &rateLimitedLogger{logger: log, limiter: rate.NewLimiter(limits.AdmissionLogRate, limits.AdmissionLogBurst),
		omittedLines: &atomic.Int64{}}
}

// Info logs a line, with the number of lines that were omitted before it. Above the rate it omits the line.
func (l *rateLimitedLogger) Info(message string, keysAndValues ...any) {
	if !l.limiter.Allow() {
		l.omittedLines.Add(1)
		return
	}
	if omitted := l.omittedLines.Swap(0); omitted > 0 {
		keysAndValues = append(keysAndValues, "linesOmittedBefore", omitted)
	}
	l.logger.Info(message, keysAndValues...)
}

// loggerFor returns the logger for reviews of a known API server, or the one for all other reviews. They have separate
// rate limiters, so that other clients cannot suppress log lines about the API server's reviews.
func (w *Webhook) loggerFor(trusted bool) *rateLimitedLogger {
	if trusted {
		return w.trustedLogger
	}
	return w.untrustedLogger
}

// trustKey is the context key for the trust in the sender of a review.
type trustKey struct{}

// withTrust stores in the context whether a known API server sent the review.
func withTrust(ctx context.Context, trusted bool) context.Context {
	return context.WithValue(ctx, trustKey{}, trusted)
}

// isTrusted says whether a known API server sent the review.
func isTrusted(ctx context.Context) bool {
	trusted, _ := ctx.Value(trustKey{}).(bool)
	return trusted
}
