package webhook

import (
	"context"
	"sync/atomic"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// lines are log lines about reviews, at a bounded rate: what is in them is worded by whoever creates pods, or calls the
// webhook.
type lines struct {
	log     logr.Logger
	limiter *rate.Limiter
	omitted *atomic.Int64
}

func newLines(log logr.Logger) *lines {
	return &lines{log: log, limiter: rate.NewLimiter(limits.AdmissionLogRate, limits.AdmissionLogBurst),
		omitted: &atomic.Int64{}}
}

// Info logs a line, and how many were left out before it, or leaves it out.
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

// logs are the lines about reviews of the API server, or about all others, which must not take the place of the former.
func (w *Webhook) logs(trusted bool) *lines {
	if trusted {
		return w.trustedLines
	}
	return w.otherLines
}

// trust is the key of what is known about the sender of a review.
type trust struct{}

func withTrust(ctx context.Context, trusted bool) context.Context {
	return context.WithValue(ctx, trust{}, trusted)
}

func isTrusted(ctx context.Context) bool {
	trusted, _ := ctx.Value(trust{}).(bool)
	return trusted
}
