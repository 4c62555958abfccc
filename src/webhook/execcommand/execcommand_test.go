package execcommand_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/execcommand"
)

func exec(command ...string) *corev1.ExecAction { return &corev1.ExecAction{Command: command} }

func TestCommandsOfProbesAndHooksAreWrappedOnce(t *testing.T) {
	const injector = "/azure-keyvault/azure-keyvault-env"
	c := corev1.Container{
		LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: exec("alive")}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}},
		StartupProbe:   &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: exec("/azure-keyvault/has-started")}},
		Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: exec(injector, "begin")},
			PreStop: &corev1.LifecycleHandler{Exec: exec()}},
	}
	names := map[string]bool{}
	for _, command := range execcommand.Of(c) {
		names[command.Name] = command.IsInjected()
	}
	assert.Equal(t, map[string]bool{"liveness probe": false, "postStart hook": true, "preStop hook": false}, names, "not the probe of the webhook")
	for range 2 {
		execcommand.Wrap(&c)
		assert.Equal(t, []string{injector, "alive"}, c.LivenessProbe.Exec.Command)
		assert.Equal(t, []string{injector, "begin"}, c.Lifecycle.PostStart.Exec.Command)
		assert.Empty(t, c.Lifecycle.PreStop.Exec.Command)
		assert.Equal(t, []string{"/azure-keyvault/has-started"}, c.StartupProbe.Exec.Command)
	}
	c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: exec("own")}}
	assert.Len(t, execcommand.Of(c), 4)
	for range 2 {
		execcommand.AddStartedCheck(c.StartupProbe)
		execcommand.Wrap(&c)
		execcommand.Wrap(&c)
		assert.Equal(t, []string{"/azure-keyvault/has-started", injector, "own"}, c.StartupProbe.Exec.Command, "the check stays in front")
		execcommand.RemoveStartedCheck(c.StartupProbe)
		execcommand.RemoveStartedCheck(c.StartupProbe)
		assert.Equal(t, []string{injector, "own"}, c.StartupProbe.Exec.Command)
	}
	execcommand.AddStartedCheck(nil)
	assert.True(t, execcommand.ProbesNeedProgram(c), "the readiness probe is httpGet")
	c.ReadinessProbe = c.LivenessProbe
	assert.False(t, execcommand.ProbesNeedProgram(c))
	execcommand.RemoveStartedCheck(c.ReadinessProbe)
	assert.Empty(t, execcommand.Of(corev1.Container{Lifecycle: &corev1.Lifecycle{}}))
	assert.False(t, execcommand.IsStartedProbe(nil))
}
