package inject

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/execcommand"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// containerRole has the properties of a container in its pod that matter while its injector waits for values.
type containerRole struct {
	// restartPolicy is the restart policy of the pod.
	restartPolicy corev1.RestartPolicy
	// blocksOthers says that the container is an init container that must end before others start, so the pod is not
	// ready while it runs.
	blocksOthers bool
}

// roleOf returns the properties of a container. A sidecar (an init container that always restarts) does not block the
// others.
func roleOf(pod *corev1.Pod, c corev1.Container, ofInit bool) containerRole {
	sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	return containerRole{restartPolicy: pod.Spec.RestartPolicy, blocksOthers: ofInit && !sidecar}
}

// needsStartedCheck says whether Kubernetes must learn when the program has started. Otherwise it would count the
// container as ready while its injector waits, and a rollout would replace older pods. Pods that end by themselves are
// not part of a rollout.
func (p containerRole) needsStartedCheck(checked bool) bool {
	always := p.restartPolicy == corev1.RestartPolicyAlways || p.restartPolicy == ""
	return always && !checked && !p.blocksOthers
}

// countsAsReady says whether Kubernetes counts the container as ready while its injector waits. A container whose
// references were checked before it started can wait for a short time like this.
func (p containerRole) countsAsReady(c corev1.Container) bool {
	return p.restartPolicy != corev1.RestartPolicyNever && !p.blocksOthers && !execcommand.ProbesNeedProgram(c)
}

const (
	// probePeriodSeconds is short, so that a started program counts as ready within a second. In seconds.
	probePeriodSeconds = 1
	// probeTimeoutSeconds is the timeout of one probe, in seconds.
	probeTimeoutSeconds = 5
	// probeTimeReserve is the time for the attempts themselves, in addition to the waits between them.
	probeTimeReserve = 2 * time.Minute
)

// newStartedProbe is a startup probe that succeeds when the program has replaced the injector. It lasts longer than the
// injector waits, because the injector ends by itself.
func newStartedProbe(e *environment) *corev1.Probe {
	failures := int64((maxInjectorWait(e) + probeTimeReserve) / time.Second / probePeriodSeconds)
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{wire.HasStartedPath}}},
		PeriodSeconds: probePeriodSeconds, TimeoutSeconds: probeTimeoutSeconds,
		FailureThreshold: int32(min(failures, limits.StartupProbeFailures)),
	}
}

// maxInjectorWait is the maximum of the sum of the injector's waits between attempts, by the settings of the container
// that are known. It is at most a day.
func maxInjectorWait(e *environment) time.Duration {
	day := limits.StartupProbeFailures * time.Second
	wait := limits.WaitWithoutRestart
	if d, err := time.ParseDuration(e.variables[wire.EnvTimeout].value); err == nil && d >= 0 {
		wait = min(d, day)
	}
	retries, err := strconv.Atoi(e.variables[wire.EnvRetries].value)
	if err != nil {
		retries = 3
	}
	pause, err := strconv.Atoi(e.variables[wire.EnvWaitBeforeRetry].value)
	if err != nil {
		pause = 3
	}
	next := time.Duration(min(max(pause, 0), int(limits.RetryWait/time.Second))) * time.Second
	for i := 0; i < retries && wait < day; i++ {
		wait, next = wait+next+next/2, min(2*next, limits.RetryWait)
		if next == 0 {
			break
		}
	}
	return min(wait, day)
}

// configureWaiting makes Kubernetes wait for the program of the container if it must, by a startup probe of the webhook
// or in front of the command of the container's own. It returns variables for the injector: the default timeout, and
// the path of the termination message if it is not the default.
func configureWaiting(c *corev1.Container, target *Target, p containerRole, checked bool) []corev1.EnvVar {
	if execcommand.IsStartedProbe(c.StartupProbe) { // added by an earlier mutation
		c.StartupProbe = nil
	}
	execcommand.RemoveStartedCheck(c.StartupProbe)
	var set []corev1.EnvVar
	switch {
	case p.needsStartedCheck(checked) && !execcommand.ProbesNeedProgram(*c):
		if c.StartupProbe == nil {
			c.StartupProbe = newStartedProbe(target.environment)
		} else {
			execcommand.AddStartedCheck(c.StartupProbe)
		}
	case checked && p.countsAsReady(*c):
		set = append(set, corev1.EnvVar{Name: wire.EnvDefaultTimeout, Value: limits.WaitWhileReady.String()})
	}
	if path := c.TerminationMessagePath; path != "" && path != corev1.TerminationMessagePathDefault {
		set = append(set, corev1.EnvVar{Name: wire.EnvTerminationLog, Value: envref.Escape(path)})
	}
	return set
}
