package envinjector

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/program"
)

func TestWhatIsNoSettingOfTheInitContainerIsRefusedByName(t *testing.T) {
	for _, text := range []string{`{"securityContext":{"privileged":true}}`, `{"securityContext":{"runAsUser":0}}`, "x"} {
		assert.ErrorContains(t, new(initContainerValue).Set(text), "env_injector.initContainer")
	}
}

func TestThePullPolicyOfTheInitContainerIsChecked(t *testing.T) {
	for flag, want := range map[string]corev1.PullPolicy{"IfNotPresent": corev1.PullIfNotPresent, "Never": corev1.PullNever} {
		got, err := settingsOf(func(string) (string, bool) { return "", false }, flag).initContainerPullPolicy()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := settingsOf(func(string) (string, bool) { return "", false }, "Sometimes").initContainerPullPolicy()
	assert.ErrorContains(t, err, "env_injector.envImage.pullPolicy")
}

func settingsOf(lookup func(string) (string, bool), pullPolicy string) Settings {
	return Settings{Settings: program.Settings{Environment: program.Environment{Lookup: lookup}}, pullPolicy: pullPolicy}
}
