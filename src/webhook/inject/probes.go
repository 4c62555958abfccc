package inject

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/execcommand"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// InjectsProbes says whether exec probes and hooks of the pod's injected containers get values.
func (s Settings) InjectsProbes(pod *corev1.Pod) bool {
	if text, ok := pod.Annotations[wire.AnnotationInjectProbes]; ok {
		inject, err := strconv.ParseBool(text)
		return err == nil && inject
	}
	return s.InjectProbes
}

// ProbeWarnings warns of probes and hooks that run a command in the plan's containers: the kubelet starts it with the
// environment of the pod, and not with that of the program. They apply unless Settings.InjectsProbes.
func (p Plan) ProbeWarnings(pod *corev1.Pod) []string {
	if UsesEnvFile(pod) { // the kubelet sets the values for probes and hooks, too
		return nil
	}
	var texts []string
	targets := p.targetsByName()
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if target := targets[c.Name]; target == nil || !target.environment.needsInjector() {
			continue
		}
		for _, command := range execcommand.Of(c) {
			if !command.IsInjected() {
				texts = append(texts, fmt.Sprintf("container %q: the %s runs a command, which gets references instead "+
					"of values; if it needs values, set the annotation %s: \"true\" on the pod",
					PrintableName(c.Name), command.Name, wire.AnnotationInjectProbes))
			}
		}
	}
	return texts
}
