package stage

import corev1 "k8s.io/api/core/v1"

// Ended says how the pod's first container ended, and the name of the container that decided it: an init container that
// failed in a pod that is not restarted lets no other container start.
func Ended(p *corev1.Pod) (container string, code int32, ended bool) {
	if p.Status.Phase == corev1.PodFailed {
		for _, c := range p.Status.InitContainerStatuses {
			if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
				return c.Name, t.ExitCode, true
			}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && len(p.Spec.Containers) > 0 && c.Name == p.Spec.Containers[0].Name {
			return c.Name, t.ExitCode, true
		}
	}
	return "", 0, false
}
