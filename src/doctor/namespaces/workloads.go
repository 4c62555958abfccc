package namespaces

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// reasonFailedCreate is the reason of the events of workloads whose pods are denied.
const reasonFailedCreate = "FailedCreate"

// denialAge is the age up to which a denial counts. Workloads try again at intervals that grow to about 17 minutes.
const denialAge = 20 * time.Minute

// Workloads checks that the env-injector denies no pod of a workload. The denial of a pod that someone creates is an
// answer to them, but that of a workload's pod is only an event.
func Workloads(s *cluster.State) doctor.Check {
	right := doctor.Right{Verb: "list", Resource: "events", Namespace: s.Namespace}
	return doctor.Check{Category: category, Name: "workloads can create their pods", Needs: []doctor.Right{right},
		Run: func(ctx context.Context) []doctor.Finding {
			var list corev1.EventList
			if _, err := s.List(ctx, &list, client.InNamespace(s.Namespace),
				client.MatchingFields{"reason": reasonFailedCreate}); err != nil {
				return cluster.ReadFailure(err, right)
			}
			return cluster.LimitFindings(findDenied(ctx, s, list.Items))
		}}
}

// findDenied returns a finding for each workload whose pods the env-injector denies.
func findDenied(ctx context.Context, s *cluster.State, events []corev1.Event) []doctor.Finding {
	last := map[corev1.ObjectReference]corev1.Event{}
	var workloads []corev1.ObjectReference
	for _, e := range events {
		workload := corev1.ObjectReference{Kind: e.InvolvedObject.Kind, Namespace: e.InvolvedObject.Namespace,
			Name: e.InvolvedObject.Name}
		before, known := last[workload]
		if !known {
			workloads = append(workloads, workload)
		}
		if !known || timeOf(e).After(timeOf(before)) {
			last[workload] = e
		}
	}
	var found []doctor.Finding
	for _, workload := range workloads[:min(len(workloads), limits.DoctorNamespaces)] {
		e := last[workload]
		_, message, denied := strings.Cut(e.Message, `admission webhook "`+cluster.WebhookName+
			`" denied the request: `)
		if !denied || s.Now().Sub(timeOf(e)) > denialAge || !lacksPods(ctx, s.Client, workload) {
			continue
		}
		cause, next := splitMessage(strings.TrimPrefix(message, "akv2k8s: "))
		found = append(found, doctor.Finding{Severity: doctor.Error,
			Object: fmt.Sprintf("%s/%s in %s", strings.ToLower(workload.Kind), workload.Name, workload.Namespace),
			What:   "the env-injector denies its pods: " + cause, Why: "its pod template can't work as it is",
			Try: next})
	}
	return found
}

// timeOf returns the time at which an event occurred last.
func timeOf(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// lacksPods reports whether a workload still has fewer pods than it is to have. A workload that can't be read counts,
// as far as it exists.
func lacksPods(ctx context.Context, c client.Client, workload corev1.ObjectReference) bool {
	objects := map[string]client.Object{"ReplicaSet": &appsv1.ReplicaSet{}, "StatefulSet": &appsv1.StatefulSet{},
		"DaemonSet": &appsv1.DaemonSet{}, "Job": &batchv1.Job{}}
	object := objects[workload.Kind]
	if object == nil {
		return true
	}
	err := c.Get(ctx, client.ObjectKey{Namespace: workload.Namespace, Name: workload.Name}, object)
	if err != nil {
		return !apierrors.IsNotFound(err)
	}
	switch live := object.(type) {
	case *appsv1.ReplicaSet:
		return live.Status.Replicas < ptr.Deref(live.Spec.Replicas, 1)
	case *appsv1.StatefulSet:
		return live.Status.Replicas < ptr.Deref(live.Spec.Replicas, 1)
	case *appsv1.DaemonSet:
		return live.Status.CurrentNumberScheduled < live.Status.DesiredNumberScheduled
	case *batchv1.Job:
		return live.Status.Active+live.Status.Succeeded < ptr.Deref(live.Spec.Parallelism, 1)
	}
	return true
}
