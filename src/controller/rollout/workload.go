package rollout

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// kubectlRestartedAt is the annotation that kubectl rollout restart writes into the pod template.
const kubectlRestartedAt = "kubectl.kubernetes.io/restartedAt"

// workload is a Deployment, StatefulSet, DaemonSet, or a Rollout of Argo.
type workload struct {
	client.Object
	kind     string
	template *corev1.PodTemplateSpec
	// paused is true if the workload does not replace its pods until somebody continues it.
	paused bool
	// finished is true if its last rollout has ended, successfully or not.
	finished bool
	// ownRestartAt is the time of the last restart by akv2k8s, restartedAt that of the last one by akv2k8s or others;
	// zero if there was none.
	ownRestartAt, restartedAt time.Time
	// restartPatch returns the merge patch that restarts the workload.
	restartPatch func(at time.Time) map[string]any
}

func (w workload) key() workloadKey { return workloadKey{w.kind, w.GetNamespace(), w.GetName()} }

// hasPodsOlderThan reports whether the workload can have pods from before a point in time: it was created before, and
// nothing has restarted it since.
func (w workload) hasPodsOlderThan(at time.Time) bool {
	return w.GetCreationTimestamp().Time.Before(at) && w.restartedAt.Before(at)
}

// newTemplateWorkload returns a workload that an annotation of its pod template restarts.
func newTemplateWorkload(kind string, object client.Object, template *corev1.PodTemplateSpec) workload {
	w := workload{Object: object, kind: kind, template: template, restartPatch: templateRestartPatch}
	w.ownRestartAt = parseTime(template.Annotations[wire.AnnotationRestartedAt])
	w.restartedAt = w.ownRestartAt
	if other := parseTime(template.Annotations[kubectlRestartedAt]); other.After(w.restartedAt) {
		w.restartedAt = other
	}
	return w
}

// parseTime parses an RFC 3339 time; zero if it is none.
func parseTime(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

func templateRestartPatch(at time.Time) map[string]any {
	annotations := map[string]any{wire.AnnotationRestartedAt: at.Format(time.RFC3339Nano)}
	return map[string]any{"spec": map[string]any{
		"template": map[string]any{"metadata": map[string]any{"annotations": annotations}}}}
}

func deploymentWorkload(d *appsv1.Deployment) workload {
	w := newTemplateWorkload(recipe.Deployment, d, &d.Spec.Template)
	w.paused, w.finished = d.Spec.Paused, d.Status.ObservedGeneration >= d.Generation && isDeploymentDone(d)
	return w
}

// isDeploymentDone reports whether the rollout of a Deployment has ended. Its controller says so in a condition, which
// stays when pods become unavailable later. A rollout that exceeded its deadline does not go on either.
func isDeploymentDone(d *appsv1.Deployment) bool {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			return c.Reason == "NewReplicaSetAvailable" || c.Reason == "ProgressDeadlineExceeded"
		}
	}
	wanted := replicasOr1(d.Spec.Replicas)
	return d.Status.UpdatedReplicas == wanted && d.Status.Replicas == wanted && d.Status.AvailableReplicas == wanted
}

func replicasOr1(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

func statefulSetWorkload(s *appsv1.StatefulSet) workload {
	w := newTemplateWorkload(recipe.StatefulSet, s, &s.Spec.Template)
	w.finished = s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType ||
		s.Status.ObservedGeneration >= s.Generation && isStatefulSetDone(s)
	return w
}

// isStatefulSetDone reports whether the rollout of a StatefulSet has ended. With a partition, only a part of the pods
// is replaced.
func isStatefulSetDone(s *appsv1.StatefulSet) bool {
	if s.Status.CurrentRevision == s.Status.UpdateRevision {
		return true
	}
	update := s.Spec.UpdateStrategy.RollingUpdate
	return update != nil && update.Partition != nil && *update.Partition > 0 &&
		s.Status.UpdatedReplicas >= replicasOr1(s.Spec.Replicas)-*update.Partition
}

func daemonSetWorkload(d *appsv1.DaemonSet) workload {
	w := newTemplateWorkload(recipe.DaemonSet, d, &d.Spec.Template)
	w.finished = d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType ||
		d.Status.ObservedGeneration >= d.Generation &&
			d.Status.UpdatedNumberScheduled >= d.Status.DesiredNumberScheduled
	return w
}
