package installation

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

// Readiness checks that the Deployments are ready, and finds out why pods are not.
func Readiness(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckReadiness,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				var found []doctor.Finding
				for _, d := range i.Deployments() {
					found = append(found, checkDeployment(ctx, s, d)...)
				}
				return found
			})
		}}
}

func checkDeployment(ctx context.Context, s *cluster.State, d *appsv1.Deployment) []doctor.Finding {
	wanted, ready := replicasOf(d), int(d.Status.ReadyReplicas)
	finding := doctor.Finding{Severity: doctor.Error, Object: "deployment/" + d.Name,
		What: fmt.Sprintf("%d of %d replicas are ready", min(ready, wanted), wanted),
		Try:  fmt.Sprintf("see its pods with: kubectl -n %s describe pods", d.Namespace)}
	switch updated := int(d.Status.UpdatedReplicas); {
	case wanted == 0:
		finding.What = "it is scaled to zero"
		finding.Try = fmt.Sprintf("scale it up: kubectl -n %s scale deployment %s --replicas=1", d.Namespace, d.Name)
		return []doctor.Finding{finding}
	case ready >= wanted && updated >= wanted && int(d.Status.Replicas) <= wanted:
		return nil
	case ready >= wanted && updated >= wanted:
		finding.What = "its rollout has not finished: pods of the earlier version run in place of new ones"
	case ready >= wanted:
		finding.What = fmt.Sprintf("its rollout has not finished: %d of %d pods are of the new version", updated,
			wanted)
	}
	if ready > 0 {
		finding.Severity = doctor.Warning
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			finding.Why = cluster.ShortMessage(c.Message)
			finding.Try = "a policy or quota denies the pods; allow them, see docs/troubleshooting.md"
			return []doctor.Finding{finding}
		}
	}
	return explainByPods(ctx, s, d, finding)
}

// explainByPods completes the finding with what the first pod says that is not ready.
func explainByPods(ctx context.Context, s *cluster.State, d *appsv1.Deployment, f doctor.Finding) []doctor.Finding {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return []doctor.Finding{f}
	}
	var pods corev1.PodList
	if _, err := s.List(ctx, &pods, client.InNamespace(d.Namespace),
		client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return append([]doctor.Finding{f}, cluster.ReadFailure(err,
			doctor.Right{Verb: "list", Resource: "pods", Namespace: d.Namespace})...)
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp != nil {
			continue // it ends because it has to
		}
		if why, try := explainPod(&pods.Items[i]); why != "" {
			f.Why, f.Try = pods.Items[i].Name+": "+why, cmp.Or(try, f.Try)
			break
		}
	}
	return []doctor.Finding{f}
}

// explainPod returns why a pod is not ready, and the next step; both are empty if the pod does not say.
func explainPod(pod *corev1.Pod) (why, try string) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "no node fits: " + cluster.ShortMessage(c.Message),
				"add nodes, or correct nodeSelector, tolerations and resources in the values"
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if state.Terminated != nil && !status.Ready {
				return explainEnd(pod, status.Name, state.Terminated)
			}
		}
		if waiting := status.State.Waiting; waiting != nil {
			return explainWaiting(pod, status.Image, waiting)
		}
	}
	return "", ""
}

// explainEnd explains a container that ended.
func explainEnd(pod *corev1.Pod, container string, last *corev1.ContainerStateTerminated) (why, try string) {
	why = fmt.Sprintf("container %s ended with exit code %d", container, last.ExitCode)
	if last.Reason == "OOMKilled" {
		return why + ": its memory limit was too low",
			"raise resources.limits.memory of the component; see docs/sizing.md"
	}
	try = fmt.Sprintf("see its log with: kubectl -n %s logs %s --previous", pod.Namespace, pod.Name)
	if cause, next := cluster.LastError(last.Message); cause != "" {
		return why + ": " + cause, cmp.Or(next, try)
	}
	return why, try
}

// explainWaiting explains a container that was not started.
func explainWaiting(pod *corev1.Pod, image string, waiting *corev1.ContainerStateWaiting) (why, try string) {
	switch {
	case strings.Contains(waiting.Reason, "Image"):
		return "the image " + image + " can't be pulled: " + cluster.ShortMessage(waiting.Message),
			"correct the image, or set global.imageRegistry and global.imagePullSecrets"
	case waiting.Reason == "ContainerCreating":
		return "its container is not created yet", fmt.Sprintf("see its events with: kubectl -n %s describe pod %s; "+
			"with FailedMount of azure.json, choose another identity in docs/authentication.md", pod.Namespace,
			pod.Name)
	}
	return waiting.Reason + ": " + cluster.ShortMessage(waiting.Message), ""
}
