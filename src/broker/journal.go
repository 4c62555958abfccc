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

// journal is the log of requests, with at most one line for each. Namespaces share it; strangers are the namespace "".
type journal struct {
	log  logr.Logger
	rate *fairshare.Rate
	// dropped lines are told of by the next one.
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

// recordAnswer logs an answer; one with something unusual in it always.
func (c *call) recordAnswer(variables int, from *source) {
	fields := []any{"namespace", c.who.Namespace, "pod", c.who.Pod, "variables", variables}
	if len(c.unrecorded) == 0 && from.stale.Load() == nil {
		c.Log.V(4).Info("answered", fields...)
		return
	}
	if len(c.unrecorded) > 0 {
		// Admission could not see these, because a source was missing then.
		fields = append(fields, "unrecordedVariables", len(c.unrecorded), "firstUnrecorded",
			shorten(c.unrecorded[0], limits.NameBytesInMessages))
	}
	if stale := from.stale.Load(); stale != nil {
		fields = append(fields, "staleObjects", from.staleCount.Load(), "firstStale", stale.object, "error",
			shorten(stale.cause, limits.AuthMessageBytes))
	}
	c.journal.write(c.who.Namespace, "answered", fields...)
}

// reports are events about pods.
type reports struct {
	clock func() time.Time
	rate  *fairshare.Rate
	// last is when an event was written about a pod, by uid.
	last *lru.Cache
}

func newReports(clock func() time.Time) *reports {
	return &reports{clock: clock, rate: fairshare.NewRate(limits.AuthEventsPerSecond, time.Second, clock),
		last: lru.New(limits.AuthEventPods)}
}

// reportStale lets the pod's owner know that a value may be old.
func (c *call) reportStale(from *source) {
	stale := from.stale.Load()
	if stale == nil || c.Events == nil || !c.reports.isDue(c.who) {
		return
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: c.who.Namespace, Name: c.who.Pod, UID: c.who.UID}}
	c.Events.Eventf(pod, nil, corev1.EventTypeWarning, "StaleValue", "Resolve",
		"%s could not be read, and the last value known was given, which is at most %s old", stale.object, c.StaleAge)
}

// isDue says whether an event about the pod may be written, and remembers it.
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

// absences remembers for a moment which AzureKeyVaultSecrets do not exist.
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
