package broker

import (
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
)

// requestLog logs requests, at most one line each. Its rate is limited by namespace; requests of unauthenticated
// clients count for namespace "".
type requestLog struct {
	log  logr.Logger
	rate *fairshare.RateLimiter
	// droppedLines is the number of lines that the rate limit suppressed since the last line. The next line reports it.
	droppedLines atomic.Int64
}

func newRequestLog(log logr.Logger, clock func() time.Time) *requestLog {
	return &requestLog{log: log, rate: fairshare.NewRateLimiter(limits.AuthLogLinesPerSecond, time.Second, clock)}
}

func (j *requestLog) writeLine(namespace, message string, fields ...any) {
	if !j.rate.Allow(namespace) {
		j.droppedLines.Add(1)
		return
	}
	if dropped := j.droppedLines.Swap(0); dropped > 0 {
		fields = append(fields, logkey.DroppedLines, dropped)
	}
	j.log.Info(message, fields...)
}

// logResponse logs a successful response: at Info if it has unrecorded variables or stale values, else at V(4).
func (c *podRequest) logResponse(variables int, from *resourceSource) {
	fields := []any{logkey.Namespace, c.caller.Namespace, logkey.Pod, c.caller.Pod, logkey.Variables, variables}
	if len(c.unrecordedVariables) == 0 && from.firstStale.Load() == nil {
		c.Log.V(4).Info("answered", fields...)
		return
	}
	if len(c.unrecordedVariables) > 0 {
		// Admission did not see these references, because a ConfigMap or Secret did not exist at that time.
		fields = append(fields, logkey.UnrecordedVariables, len(c.unrecordedVariables), logkey.FirstUnrecorded,
			truncateText(c.unrecordedVariables[0], limits.NameBytesInMessages))
	}
	if stale := from.firstStale.Load(); stale != nil {
		fields = append(fields, logkey.StaleObjects, from.staleCount.Load(), logkey.FirstStale, stale.name,
			logkey.Error, truncateText(stale.cause, limits.AuthMessageBytes))
	}
	c.requestLog.writeLine(c.caller.Namespace, "answered", fields...)
}

// podEventLimiter limits the rate of events about pods, by pod and by namespace.
type podEventLimiter struct {
	clock func() time.Time
	rate  *fairshare.RateLimiter
	// lastEvent maps the uid of a pod to the time of its last event.
	lastEvent *lru.Cache
}

func newPodEventLimiter(clock func() time.Time) *podEventLimiter {
	return &podEventLimiter{clock: clock,
		rate:      fairshare.NewRateLimiter(limits.AuthEventsPerSecond, time.Second, clock),
		lastEvent: lru.New(limits.AuthEventPods)}
}

// eventStaleValue is the reason of the event on a pod that got a stale value.
const eventStaleValue = "StaleValue"

// emitStaleValueEvent records an event on the pod if it got a stale value.
func (c *podRequest) emitStaleValueEvent(from *resourceSource) {
	stale := from.firstStale.Load()
	if stale == nil || c.Events == nil || !c.podEvents.allowEvent(c.caller) {
		return
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: c.caller.Namespace, Name: c.caller.Pod,
		UID: c.caller.UID}}
	c.Events.Eventf(pod, nil, corev1.EventTypeWarning, eventStaleValue, "Resolve",
		"%s could not be read; the pod got the last known value, which is at most %s old", stale.name, c.MaxStaleAge)
}

// allowEvent reports whether an event about the pod can be recorded now. If so, it counts the event.
func (r *podEventLimiter) allowEvent(who caller) bool {
	now := r.clock()
	if last, known := r.lastEvent.Get(who.UID); known && now.Sub(last.(time.Time)) < limits.AuthEventInterval {
		return false
	}
	if !r.rate.Allow(who.Namespace) {
		return false
	}
	r.lastEvent.Add(who.UID, now)
	return true
}

// missingResourceCache caches the names of AzureKeyVaultSecrets that do not exist, for limits.AuthAbsentTime.
type missingResourceCache struct {
	clock func() time.Time
	names *lru.Cache
}

func newMissingResourceCache(clock func() time.Time) *missingResourceCache {
	return &missingResourceCache{clock: clock, names: lru.New(limits.AuthAbsentResources)}
}

func (a *missingResourceCache) add(name types.NamespacedName) { a.names.Add(name, a.clock()) }

func (a *missingResourceCache) has(name types.NamespacedName) bool {
	since, known := a.names.Get(name)
	return known && a.clock().Sub(since.(time.Time)) < limits.AuthAbsentResourceTime
}
