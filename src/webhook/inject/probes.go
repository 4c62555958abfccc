package inject

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

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

// execCommand is a command that the kubelet runs in a container, in addition to its program.
type execCommand struct {
	// name of the probe or hook, for messages.
	name string
	*corev1.ExecAction
}

// execCommands are the probes and hooks of a container that run a command, without the probe of the webhook.
func execCommands(c corev1.Container) []execCommand {
	var commands []execCommand
	probe := func(name string, p *corev1.Probe) {
		if p != nil && p.Exec != nil && !isStartedProbe(p) {
			commands = append(commands, execCommand{name, p.Exec})
		}
	}
	hook := func(name string, h *corev1.LifecycleHandler) {
		if h != nil && h.Exec != nil {
			commands = append(commands, execCommand{name, h.Exec})
		}
	}
	probe("liveness probe", c.LivenessProbe)
	probe("readiness probe", c.ReadinessProbe)
	probe("startup probe", c.StartupProbe)
	if c.Lifecycle != nil {
		hook("postStart hook", c.Lifecycle.PostStart)
		hook("preStop hook", c.Lifecycle.PreStop)
	}
	return commands
}

// isInjected says whether the command gets values, by the webhook or by its author.
func (e execCommand) isInjected() bool {
	return len(e.Command) > 0 && e.Command[0] == wire.InjectorPath
}

// wrapProbesAndHooks puts the injector in front of the commands of the container's probes and hooks.
func wrapProbesAndHooks(c *corev1.Container) {
	for _, command := range execCommands(*c) {
		if len(command.Command) > 0 && !command.isInjected() {
			command.Command = slices.Insert(command.Command, 0, wire.InjectorPath)
		}
	}
}

// ProbeWarnings warns of probes and hooks that run a command in the plan's containers: the kubelet starts it with the
// environment of the pod, and not with that of the program. They apply unless Settings.InjectsProbes.
func (p Plan) ProbeWarnings(pod *corev1.Pod) []string {
	var texts []string
	targets := p.targetsByName()
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if target := targets[c.Name]; target == nil || !target.environment.needsInjector() {
			continue
		}
		for _, command := range execCommands(c) {
			if !command.isInjected() {
				texts = append(texts, fmt.Sprintf("container %q: the %s runs a command, which gets references instead "+
					"of values; if it needs values, set the annotation %s: \"true\" on the pod",
					PrintableName(c.Name), command.name, wire.AnnotationInjectProbes))
			}
		}
	}
	return texts
}
