package filesync

import (
	"context"
	"time"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/injector/atomicdir"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// firstMaxWait is the maximum of the first wait after a failure.
const firstMaxWait = time.Second

// KeepFresh requests the files again and again until the context ends. Failures keep the old files, and are logged and
// retried. It returns at once only if the context has ended: a sidecar that ends is restarted.
func (s *Syncer) KeepFresh(ctx context.Context) {
	s.runRounds(ctx, s.nextRefresh())
}

// Resume is KeepFresh for files that an earlier process has written. Their first request does not wait for an interval,
// but until no program reads what that process has replaced. Calls that the earlier process has not ended are made.
func (s *Syncer) Resume(ctx context.Context) {
	if s.notifier != nil && s.notifier.isPending() {
		s.notifier.startCalls(ctx)
	}
	s.runRounds(ctx, atomicdir.GracePeriod)
}

// never is a wait until the context ends.
const never time.Duration = -1

// runRounds waits and requests the files, in turns.
func (s *Syncer) runRounds(ctx context.Context, wait time.Duration) {
	for {
		s.config.ReleaseMemory()
		if wait == never {
			<-ctx.Done()
			return
		}
		if s.config.Sleep(ctx, wait) != nil {
			return
		}
		err := s.Sync(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = s.nextRetry(err)
		} else {
			wait = s.nextRefresh()
		}
		s.reportRound(err, wait)
	}
}

// nextRefresh returns the wait after a success: the interval of the last answer ±10 %, so that the pods of a rollout
// don't stay in step.
func (s *Syncer) nextRefresh() time.Duration {
	s.nextMaxWait = firstMaxWait
	if s.refreshAfter == 0 {
		return never
	}
	tenth := s.refreshAfter / 10
	return s.refreshAfter - tenth + s.config.Jitter(2*tenth)
}

// nextRetry returns the wait after a failure. It has full jitter, because an outage is one for many pods; it is not
// shorter than the server asked for, and not longer than the interval.
func (s *Syncer) nextRetry(err error) time.Duration {
	asked := min(max(fault.RetryAfter(err), 0), limits.InjectorRetryAfter)
	longest := limits.FilesRetryWait
	if s.refreshAfter > 0 {
		longest = min(longest, s.refreshAfter)
	}
	wait := s.config.Jitter(min(s.nextMaxWait, longest-asked))
	s.nextMaxWait = min(2*s.nextMaxWait, longest)
	return asked + wait
}

// reportRound logs the result of a round.
func (s *Syncer) reportRound(err error, wait time.Duration) {
	const precision = 100 * time.Millisecond
	if err != nil {
		s.warnings.isFailing = true
		s.warn("the files were not refreshed and stay as they are", logkey.RetryIn, wait.Round(precision).String(),
			logkey.Reason, fault.KindOf(err).Reason(), logkey.Error, err.Error())
		return
	}
	if s.warnings.isFailing {
		s.config.Log.Info("the files are refreshed again")
		s.warnings.isFailing = false
	}
	s.config.Log.Debug("the files were refreshed", logkey.RefreshIn, wait.Round(precision).String())
}

// warn logs a warning, at most one in limits.FilesWarningInterval.
func (s *Syncer) warn(message string, args ...any) {
	dropped, ok := s.warnings.next()
	if !ok {
		return
	}
	if dropped > 0 {
		args = append(args, logkey.DroppedLines, dropped)
	}
	s.config.Log.Warn(message, args...)
}

// warningLimiter limits warnings. It is not safe for concurrent use.
type warningLimiter struct {
	clock   func() time.Time
	last    time.Time
	dropped int
	// isFailing says that the last round failed.
	isFailing bool
}

// next reports whether a warning can be logged, with the number of those that were dropped before it.
func (l *warningLimiter) next() (dropped int, ok bool) {
	now := l.clock()
	if !l.last.IsZero() && now.Sub(l.last) < limits.FilesWarningInterval {
		l.dropped++
		return 0, false
	}
	dropped, l.dropped, l.last = l.dropped, 0, now
	return dropped, true
}
