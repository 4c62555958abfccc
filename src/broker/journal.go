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
)

// journal logs requests, at most one line each. Its rate is limited by namespace; requests of unauthenticated clients
// count for namespace "".
type journal struct {
	log  logr.Logger
	rate *fairshare.Rate
	// dropped is the number of lines that the rate limit suppressed since the last line. The next line reports it.
	dropped atomic.Int64
}

func newJournal(log logr.Logger, clock func() time.Time) *journal {
	return &journal{log: log, rate: fairshare.NewRate(limits.AuthLogLinesPerSecond, time.Second, clock)}
}

func (j *journal) write(namespace, message string, fields ...any) {
	if !j.rate.Allow(namespace) {
		j.dropped.Add(1)
		return
	}
	if dropped := j.dropped.Swap(0); dropped > 0 {
		fields = append(fields, "linesNotWritten", dropped)
	}
	j.log.Info(message, fields...)
}

// recordAnswer logs a successful response: at Info if it has unrecorded variables or stale values, else at V(4).
func (c *call) recordAnswer(variables int, from *source) {
	fields := []any{"namespace", c.who.Namespace, "pod", c.who.Pod, "variables", variables}
	if len(c.unrecorded) == 0 && from.stale.Load() == nil {
		c.Log.V(4).Info("answered", fields...)
		return
	}
	if len(c.unrecorded) > 0 {
		// Admission did not see these references, because a ConfigMap or Secret did not exist at that time.
		fields = append(fields, "unrecordedVariables", len(c.unrecorded), "firstUnrecorded",
			shorten(c.unrecorded[0], limits.NameBytesInMessages))
	}
	if stale := from.stale.Load(); stale != nil {
		fields = append(fields, "staleObjects", from.staleCount.Load(), "firstStale", stale.object, "error",
			shorten(stale.cause, limits.AuthMessageBytes))
	}
	c.journal.write(c.who.Namespace, "answered", fields...)
}

// reports limits the rate of events about pods, by pod and by namespace.
type reports struct {
	clock func() time.Time
	rate  *fairshare.Rate
	// last maps the uid of a pod to the time of its last event.
	last *lru.Cache
}

func newReports(clock func() time.Time) *reports {
	return &reports{clock: clock, rate: fairshare.NewRate(limits.AuthEventsPerSecond, time.Second, clock),
		last: lru.New(limits.AuthEventPods)}
}

// reportStale records an event on the pod if it got a stale value.
func (c *call) reportStale(from *source) {
	stale := from.stale.Load()
	if stale == nil || c.Events == nil || !c.reports.isDue(c.who) {
		return
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: c.who.Namespace, Name: c.who.Pod, UID: c.who.UID}}
	c.Events.Eventf(pod, nil, corev1.EventTypeWarning, "StaleValue", "Resolve",
		"%s could not be read; the pod got the last known value, which is at most %s old", stale.object, c.StaleAge)
}

// isDue reports whether an event about the pod can be recorded now. If so, it counts the event.
func (r *reports) isDue(who caller) bool {
	now := r.clock()
	if last, known := r.last.Get(who.UID); known && now.Sub(last.(time.Time)) < limits.AuthEventInterval {
		return false
	}
	if !r.rate.Allow(who.Namespace) {
		return false
	}
	r.last.Add(who.UID, now)
	return true
}

// absences caches the names of AzureKeyVaultSecrets that do not exist, for limits.AuthAbsentTime.
type absences struct {
	clock func() time.Time
	names *lru.Cache
}

func newAbsences(clock func() time.Time) *absences {
	return &absences{clock: clock, names: lru.New(limits.AuthAbsentNames)}
}

func (a *absences) add(name types.NamespacedName) { a.names.Add(name, a.clock()) }

func (a *absences) has(name types.NamespacedName) bool {
	since, known := a.names.Get(name)
	return known && a.clock().Sub(since.(time.Time)) < limits.AuthAbsentTime
}
