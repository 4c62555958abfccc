package execcommand

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Command is a command that the kubelet runs in a container, in addition to its program.
type Command struct {
	// Name of the probe or hook, for messages.
	Name string
	*corev1.ExecAction
}

// Of returns the probes and hooks of a container that run a command, without the probe of the webhook.
func Of(c corev1.Container) []Command {
	var commands []Command
	probe := func(name string, p *corev1.Probe) {
		if p != nil && p.Exec != nil && !IsStartedProbe(p) {
			commands = append(commands, Command{name, p.Exec})
		}
	}
	hook := func(name string, h *corev1.LifecycleHandler) {
		if h != nil && h.Exec != nil {
			commands = append(commands, Command{name, h.Exec})
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

// IsInjected says whether the command gets values, by the webhook or by its author.
func (e Command) IsInjected() bool {
	return len(e.Command) > e.start() && e.Command[e.start()] == wire.InjectorPath
}

// start is the index of the command that its author wrote, behind the check of the webhook.
func (e Command) start() int {
	if len(e.Command) > 0 && e.Command[0] == wire.HasStartedPath {
		return 1
	}
	return 0
}

// Wrap puts the injector in front of the commands of the container's probes and hooks.
func Wrap(c *corev1.Container) {
	for _, command := range Of(*c) {
		if len(command.Command) > 0 && !command.IsInjected() {
			command.Command = slices.Insert(command.Command, command.start(), wire.InjectorPath)
		}
	}
}

// IsStartedProbe says whether the webhook added the probe.
func IsStartedProbe(p *corev1.Probe) bool {
	return p != nil && p.Exec != nil && len(p.Exec.Command) == 1 && p.Exec.Command[0] == wire.HasStartedPath
}

// AddStartedCheck puts a check in front of the command of a startup probe, so that it succeeds only after the program
// of the container has started.
func AddStartedCheck(p *corev1.Probe) {
	if p != nil && p.Exec != nil && len(p.Exec.Command) > 0 {
		p.Exec.Command = slices.Insert(p.Exec.Command, 0, wire.HasStartedPath)
	}
}

// RemoveStartedCheck removes that check.
func RemoveStartedCheck(p *corev1.Probe) {
	if p != nil && p.Exec != nil && len(p.Exec.Command) > 1 && p.Exec.Command[0] == wire.HasStartedPath {
		p.Exec.Command = p.Exec.Command[1:]
	}
}

// ProbesNeedProgram says whether a probe of the container succeeds only when its program runs. A probe that runs a
// command can succeed before.
func ProbesNeedProgram(c corev1.Container) bool {
	needs := func(p *corev1.Probe) bool { return p != nil && p.Exec == nil }
	return needs(c.StartupProbe) || needs(c.ReadinessProbe)
}
