package object

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Pod checks one pod.
func Pod(s *cluster.State, name string) doctor.Check {
	right := doctor.Right{Verb: "get", Resource: "pods", Name: name, Namespace: s.Namespace}
	return doctor.Check{Category: "Pod " + s.Namespace + "/" + name, Name: "the pod has its values",
		Needs: []doctor.Right{right},
		Run: func(ctx context.Context) []doctor.Finding {
			var pod corev1.Pod
			err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &pod)
			switch {
			case apierrors.IsNotFound(err):
				return []doctor.Finding{{Severity: doctor.Error, What: "it does not exist",
					Why: "if a workload can't create its pods, the events of its ReplicaSet, Job or StatefulSet say " +
						"why",
					Try: "kubectl -n " + s.Namespace + " get events --field-selector reason=FailedCreate"}}
			case err != nil:
				return cluster.ReadFailure(err, right)
			}
			found := append(checkInjected(ctx, s, &pod), checkContainers(&pod)...)
			if len(found) > 0 {
				found = append(found, checkEvents(ctx, s, &pod)...)
			}
			return cluster.LimitFindings(found)
		}}
}

// isInjected reports whether the webhook changed the pod.
func isInjected(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == wire.VolumeInjector || v.Name == wire.VolumeToken
	})
}

// references returns the variables of the pod that have a reference, as CONTAINER/VARIABLE.
func references(pod *corev1.Pod) []string {
	var found []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, v := range c.Env {
			if envref.IsIntendedReference(v.Value) {
				found = append(found, c.Name+"/"+v.Name)
			}
		}
	}
	return found
}

// checkInjected explains why a pod with references was not injected.
func checkInjected(ctx context.Context, s *cluster.State, pod *corev1.Pod) []doctor.Finding {
	variables := references(pod)
	if isInjected(pod) || len(variables) == 0 {
		return nil
	}
	f := doctor.Finding{Severity: doctor.Error, What: "it was not injected, so its programs get references as text: " +
		strings.Join(variables[:min(3, len(variables))], ", "),
		Why: "the API server did not call the webhook when the pod was created",
		Try: "run kubectl akv2k8s doctor, and recreate the pod when it passes"}
	if pod.Labels[wire.LabelInject] == "false" {
		f.Why = "its label " + wire.LabelInject + "=false disables injection"
		f.Try = "remove the label from the pod template"
		return []doctor.Finding{f}
	}
	installations, _ := s.Installations(ctx)
	var namespace corev1.Namespace
	if err := s.Client.Get(ctx, client.ObjectKey{Name: pod.Namespace}, &namespace); err != nil {
		return []doctor.Finding{f}
	}
	label, value := (&cluster.Installation{}).Injection()
	for _, one := range installations {
		if one.Injector != nil {
			label, value = one.Injection()
		}
	}
	if namespace.Labels[label] != value {
		f.Why = fmt.Sprintf("its namespace lacks the label %s=%s", label, value)
		f.Try = "label the namespace, and recreate the pod"
		f.Command = fmt.Sprintf("kubectl label namespace %s %s=%s", pod.Namespace, label, value)
	} else {
		f.Why = "it was probably created before the namespace was labelled, or before akv2k8s was installed"
		f.Try = "recreate the pod; if that does not help, run kubectl akv2k8s doctor -n " + pod.Namespace
	}
	return []doctor.Finding{f}
}

// checkContainers reads the messages that our init container and injector leave behind, and the states of containers.
func checkContainers(pod *corev1.Pod) []doctor.Finding {
	var found []doctor.Finding
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if f := checkContainer(pod, status); f != nil {
			found = append(found, *f)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			found = append(found, doctor.Finding{Severity: doctor.Error, What: "no node fits: " +
				cluster.ShortMessage(c.Message), Try: "correct its node selector, tolerations or requests"})
		}
	}
	return found
}

// checkContainer returns a finding for a container that ended or can't start, or nil.
func checkContainer(pod *corev1.Pod, status corev1.ContainerStatus) *doctor.Finding {
	f := &doctor.Finding{Severity: doctor.Error, Object: "container " + status.Name}
	ended, waiting := status.State.Terminated, status.State.Waiting
	if ended == nil && !status.Ready {
		ended = status.LastTerminationState.Terminated
	}
	switch {
	case ended != nil && ended.ExitCode != 0:
		*f = explainExit(pod, f.Object, ended)
		return f
	case waiting == nil:
		return nil
	case strings.Contains(waiting.Reason, "Image"):
		f.What = "its image can't be pulled: " + cluster.ShortMessage(waiting.Message)
		f.Try = "correct the image or its pull secret"
		return f
	case slices.Contains([]string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"},
		waiting.Reason):
		f.What, f.Try = waiting.Reason+": "+cluster.ShortMessage(waiting.Message), "see the events of the pod"
		return f
	}
	return nil
}

// explainExit explains the end of a container. The message of our programs has cause and next step.
func explainExit(pod *corev1.Pod, object string, ended *corev1.ContainerStateTerminated) doctor.Finding {
	f := doctor.Finding{Severity: doctor.Error, Object: object,
		What: fmt.Sprintf("it ended with exit code %d", ended.ExitCode)}
	text := strings.TrimSpace(ended.Message)
	own := isInjected(pod) && fault.BeginsWithReason(text)
	name := strings.TrimPrefix(object, "container ")
	switch {
	case ended.Reason == "OOMKilled":
		f.What, f.Try = "its memory limit was too low", "raise the memory limit"
	case own || name == wire.InitContainer || name == wire.CheckContainer:
		cause, next, _ := strings.Cut(text, "; ")
		if cause != "" {
			f.Why = cluster.ShortMessage(cause)
		}
		f.Try = cluster.ShortMessage(next)
		if f.Try == "" {
			f.Try = fmt.Sprintf("see its log with: kubectl -n %s logs %s -c %s", pod.Namespace, pod.Name, name)
		}
	default:
		// The program's own message can hold anything, so it is not repeated.
		f.Why = "its program ended; akv2k8s has no message about it"
		f.Try = fmt.Sprintf("see its log with: kubectl -n %s logs %s -c %s --previous", pod.Namespace, pod.Name, name)
	}
	return f
}

// checkEvents adds the last warnings of Kubernetes and akv2k8s about the pod.
func checkEvents(ctx context.Context, s *cluster.State, pod *corev1.Pod) []doctor.Finding {
	var list corev1.EventList
	right := doctor.Right{Verb: "list", Resource: "events", Namespace: pod.Namespace}
	_, err := s.List(ctx, &list, client.InNamespace(pod.Namespace), client.MatchingFieldsSelector{
		Selector: fields.OneTermEqualSelector("involvedObject.uid", string(pod.UID))})
	if err != nil {
		return cluster.ReadFailure(err, right)
	}
	var found []doctor.Finding
	for _, e := range list.Items {
		if e.Type != corev1.EventTypeWarning || e.Reason == "BackOff" || isKnown(e.Reason, pod) {
			continue // BackOff is an effect
		}
		found = append(found, doctor.Finding{Severity: doctor.Warning, Object: "event " + e.Reason,
			What: cluster.ShortMessage(e.Message)})
	}
	return found[max(0, len(found)-5):]
}

// isKnown reports whether events with a reason say nothing new: they repeat the state of a container, or are about a
// step that the pod has passed. A pod has a node, a sandbox and all volumes before its first container starts.
func isKnown(reason string, pod *corev1.Pod) bool {
	hasStarted, cannotPull := false, false
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		hasStarted = hasStarted || status.State.Running != nil || status.State.Terminated != nil ||
			status.LastTerminationState.Terminated != nil
		cannotPull = cannotPull || status.State.Waiting != nil && strings.Contains(status.State.Waiting.Reason, "Image")
	}
	return cannotPull && reason == "Failed" ||
		hasStarted && slices.Contains([]string{"FailedScheduling", "FailedAttachVolume", "FailedMapVolume",
			"FailedMount", "FailedCreatePodSandBox"}, reason)
}
