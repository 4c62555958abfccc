package inject_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// checked are the references that the init container of the mutated pod checks, and the text of their variable.
func checked(t *testing.T, pod *corev1.Pod) (references map[string]string, written string) {
	t.Helper()
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	for _, variable := range inject.Mutate(pod, plan, settings()).Spec.InitContainers[0].Env {
		if variable.Name == "ENV_INJECTOR_CHECK_REFERENCES" {
			written = variable.Value
		}
	}
	require.NoError(t, json.Unmarshal([]byte(written), &references))
	return references, written
}

func TestAReferenceIsCheckedOnceHoweverManyContainersHaveIt(t *testing.T) {
	pod := with(corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}, corev1.EnvVar{Name: "AGAIN", Value: "a@azurekeyvault"}, corev1.EnvVar{Name: "B", Value: "a@azurekeyvault?part"})
	for i := range 9 {
		more := *pod.Spec.Containers[0].DeepCopy()
		more.Name = fmt.Sprintf("more-%d", i)
		pod.Spec.Containers = append(pod.Spec.Containers, more)
	}
	references, _ := checked(t, pod)
	assert.Equal(t, map[string]string{"app/A": "a@azurekeyvault", "app/B": "a@azurekeyvault?part"}, references)
}

func TestMoreReferencesThanFitAreLeftToTheContainer(t *testing.T) {
	var env []corev1.EnvVar
	for i := range 3000 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("V%04d", i), Value: fmt.Sprintf("%s-%04d@azurekeyvault", strings.Repeat("n", 100), i)})
	}
	pod := with(env...)
	references, written := checked(t, pod)
	assert.Greater(t, len(references), 400)
	assert.LessOrEqual(t, len(written), limits.CheckedReferencesBytes)
	assert.Greater(t, len(written), limits.CheckedReferencesBytes-300, "as many as fit")
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	out := inject.Mutate(pod, plan, settings())
	require.NotNil(t, out.Spec.Containers[0].StartupProbe, "what is not checked must not count as ready while it waits")
	assert.Equal(t, []string{"/azure-keyvault/has-started"}, out.Spec.Containers[0].StartupProbe.Exec.Command)
}

// TestTheProbeGoesOnForLongerThanTheInjectorWaits has a container that reads vaults itself, with its own settings.
func TestTheProbeGoesOnForLongerThanTheInjectorWaits(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		// longest is the maximum time that the injector waits between attempts, in seconds.
		longest int32
	}{
		"defaults":             {nil, 60},
		"a timeout":            {map[string]string{"ENV_INJECTOR_TIMEOUT": "20m"}, 1200},
		"retries":              {map[string]string{"ENV_INJECTOR_RETRIES": "5", "ENV_INJECTOR_WAIT_BEFORE_RETRY": "10"}, 60 + 15*31},
		"retries without end":  {map[string]string{"ENV_INJECTOR_RETRIES": "2000000000", "ENV_INJECTOR_WAIT_BEFORE_RETRY": "0"}, 60},
		"longer than a day":    {map[string]string{"ENV_INJECTOR_TIMEOUT": "100000h", "ENV_INJECTOR_RETRIES": "2000000000"}, 0},
		"a wait without a sum": {map[string]string{"ENV_INJECTOR_WAIT_BEFORE_RETRY": "9223372036854775807", "ENV_INJECTOR_RETRIES": "1"}, 60 + 5400},
	} {
		t.Run(name, func(t *testing.T) {
			pod := with(corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}, corev1.EnvVar{Name: "ENV_INJECTOR_DISABLE_AUTH_SERVICE", Value: "true"})
			for name, value := range c.settings {
				pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
			}
			plan, err := inject.Decide(pod, nil)
			require.NoError(t, err)
			probe := inject.Mutate(pod, plan, settings()).Spec.Containers[0].StartupProbe
			require.NotNil(t, probe)
			assert.Greater(t, probe.FailureThreshold*probe.PeriodSeconds, c.longest)
			assert.LessOrEqual(t, probe.FailureThreshold, int32(limits.StartupProbeFailures))
		})
	}
}
