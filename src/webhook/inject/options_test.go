package inject_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

var referenceA = corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}

// fromMap is an envFrom with a whole ConfigMap.
func fromMap(name string) []corev1.EnvFromSource {
	return []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
}

// ofKey is a variable that comes from a key of a ConfigMap.
func ofKey(name, of, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: of}, Key: key}}}
}

func TestTheAuthServiceIsSwitchedOffByWhateverParsesAsTrueAndNothingIsIgnored(t *testing.T) {
	const name = "ENV_INJECTOR_DISABLE_AUTH_SERVICE"
	for value, direct := range map[string]bool{"true": true, "True": true, "TRUE": true, "1": true, "t": true, "T": true, "false": false, "False": false, "0": false, "f": false, "": false} {
		pod := with(referenceA, corev1.EnvVar{Name: name, Value: value})
		plan, err := inject.Decide(pod, nil)
		require.NoError(t, err, value)
		out := inject.Mutate(pod, plan, settings())
		found := false
		for _, v := range out.Spec.Containers[0].Env {
			found = found || v.Name == "ENV_INJECTOR_USE_AUTH_SERVICE" && v.Value == "false"
		}
		assert.Equal(t, direct, found, "%q", value)
	}
	for what, env := range map[string][]corev1.EnvVar{
		"nonsense":       {{Name: name, Value: "yes"}},
		"composed":       {{Name: "T", Value: "true"}, {Name: name, Value: "$(T)"}},
		"of a ConfigMap": {ofKey(name, "m", "k")},
		"of a field":     {{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['x']"}}}},
		"in lower case":  {{Name: strings.ToLower(name), Value: "true"}},
		"with a blank":   {{Name: name + " ", Value: "true"}},
		"the last wins":  {{Name: name, Value: "true"}, {Name: name, Value: "off"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := inject.Decide(with(append(env, referenceA)...), nil)
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			assert.Contains(t, err.Error(), name)
			_, err = inject.Decide(with(env...), inject.Sources{{Kind: inject.KindConfigMap, Name: "m"}: inject.NewSource(map[string]string{"k": "true"})})
			assert.NoError(t, err, "a container without references is not concerned")
		})
	}
	pod := with(referenceA, corev1.EnvVar{Name: name, Value: "true"}, corev1.EnvVar{Name: name, Value: "false"})
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	for _, v := range inject.Mutate(pod, plan, settings()).Spec.Volumes {
		assert.NotEqual(t, "akv2k8s-api", v.Name, "of two entries the last one holds")
	}
}

func TestEverySettingOfAContainerIsReadOrRefused(t *testing.T) {
	for setting, c := range map[string]struct {
		good, bad []string
		// warned says that a bad value gets a warning; otherwise the pod is rejected.
		warned bool
	}{
		"ENV_INJECTOR_CHECK_BEFORE_START": {[]string{"true", "False", "0"}, []string{"no", "$(A)"}, false},
		"ENV_INJECTOR_TIMEOUT":            {[]string{"60s", "5m", "0s", "$(X)"}, []string{"60", "soon", "-1s"}, false},
		"ENV_INJECTOR_RETRIES":            {[]string{"0", "3"}, []string{"three", "-1", "1.5"}, false},
		"ENV_INJECTOR_WAIT_BEFORE_RETRY":  {[]string{"3"}, []string{"3s", "-3"}, false},
		"ENV_INJECTOR_AUTH_TYPE":          {[]string{"environment", "environment-azidentity", "azureCloudConfig"}, []string{"Environment", "msi"}, false},
		"ENV_INJECTOR_LOG_LEVEL":          {[]string{"info", "debug", "trace", "4"}, []string{"Debug", "verbose"}, true},
		"ENV_INJECTOR_LOG_FORMAT":         {[]string{"text", "json", "fmt"}, []string{"JSON", "yaml"}, true},
		"ENV_INJECTOR_SKIP_ARGS":          {nil, []string{"true"}, true},
	} {
		t.Run(setting, func(t *testing.T) {
			for _, value := range c.good {
				plan, err := inject.Decide(with(corev1.EnvVar{Name: setting, Value: value}, referenceA), nil)
				require.NoError(t, err, value)
				assert.Empty(t, plan.Warnings, value)
			}
			for _, value := range c.bad {
				plan, err := inject.Decide(with(corev1.EnvVar{Name: setting, Value: value}, referenceA), nil)
				if c.warned {
					require.NoError(t, err, value)
					require.Len(t, plan.Warnings, 1, value)
					assert.Contains(t, plan.Warnings[0], setting)
					continue
				}
				require.Error(t, err, value)
				assert.Contains(t, err.Error(), setting)
				assert.NotContains(t, err.Error(), `"`+value, "no value is quoted")
			}
		})
	}
}

func TestSettingsAndReservedVariablesOfAWholeConfigMap(t *testing.T) {
	decide := func(key string) error {
		pod := with(referenceA)
		pod.Spec.Containers[0].EnvFrom = fromMap("m")
		_, err := inject.Decide(pod, inject.Sources{{Kind: inject.KindConfigMap, Name: "m"}: inject.NewSource(map[string]string{key: "x"})})
		return err
	}
	for _, reserved := range []string{"ENV_INJECTOR_CA", "ENV_INJECTOR_AUTH_SERVICE", "ENV_INJECTOR_EXPAND", "ENV_INJECTOR_REFERENCES", "ENV_INJECTOR_ADDED", "ENV_INJECTOR_USE_AUTH_SERVICE"} {
		assert.ErrorContains(t, decide(reserved), reserved+`, from ConfigMap "m", is reserved`)
	}
	for _, literal := range []string{"ENV_INJECTOR_DISABLE_AUTH_SERVICE", "env_injector_disable_auth_service", "ENV_INJECTOR_CHECK_BEFORE_START"} {
		assert.ErrorContains(t, decide(literal), "into env")
	}
	assert.NoError(t, decide("ENV_INJECTOR_TIMEOUT"), "the injector reads it when the container starts")
	pod := with(referenceA)
	pod.Spec.Containers[0].EnvFrom = fromMap("m")
	plan, err := inject.Decide(pod, inject.Sources{{Kind: inject.KindConfigMap, Name: "m"}: inject.NewSource(map[string]string{"ENV_INJECTOR_LOG_LEVEL": "debug"})})
	require.NoError(t, err)
	for _, v := range inject.Mutate(pod, plan, settings()).Spec.Containers[0].Env {
		assert.NotEqual(t, "ENV_INJECTOR_LOG_LEVEL", v.Name, "the installation's level would replace the container's")
	}
}

func TestLabelsAndAnnotationsOfAPodAreReadOrRefused(t *testing.T) {
	for label, want := range map[string]string{"false": "left", "False": "left", "0": "left", "true": "injected", "": "injected", "no": "refused", "disabled": "refused"} {
		pod := with(referenceA)
		pod.Labels = map[string]string{"akv2k8s.io/inject": label}
		assert.Equal(t, want, outcome(pod), "label %q", label)
	}
	for annotation, want := range map[string]string{"always": "injected", "Always": "injected", "false": "refused", "true": "refused", "never": "refused"} {
		pod := with(referenceA)
		pod.Annotations = map[string]string{"akv2k8s.io/inject": annotation}
		assert.Equal(t, want, outcome(pod), "annotation %q", annotation)
	}
	pod := with(corev1.EnvVar{Name: "A", Value: "plain"})
	pod.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{"akv2k8s.io/inject": "false"}}
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	require.Len(t, plan.Warnings, 1)
	assert.Contains(t, plan.Warnings[0], `label akv2k8s.io/inject: "false"`)
}

func outcome(pod *corev1.Pod) string {
	plan, err := inject.Decide(pod, nil)
	switch {
	case err != nil:
		return "refused"
	case plan.IsEmpty():
		return "left"
	}
	return "injected"
}

// TestNoReferenceReachesTheProgramInSilence has values as editors and shells write them into ConfigMaps.
func TestNoReferenceReachesTheProgramInSilence(t *testing.T) {
	for value, want := range map[string]string{
		"db@azurekeyvault\n": "injected", " db@azurekeyvault\r\n": "injected", "\ufeffdb@azurekeyvault": "injected", "\u200bdb@azurekeyvault?user\u200b": "injected",
		`"db@azurekeyvault"`: "refused", "'db@azurekeyvault'\n": "refused", "db@AzureKeyVault": "refused", "db@azure\u200bkeyvault": "refused",
		"postgres://user:pw@azurekeyvault/db": "warned", "db@azure-keyvault": "warned", "db@azurekeyvaults?x": "warned", "db@azurekeyvault;": "warned",
		"me@example.com": "left",
	} {
		data := inject.Sources{{Kind: inject.KindConfigMap, Name: "m"}: inject.NewSource(map[string]string{"k": value})}
		annotated := with(corev1.EnvVar{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['k']"}}})
		annotated.Annotations = map[string]string{"k": value}
		whole := with()
		whole.Spec.Containers[0].EnvFrom = fromMap("m")
		for where, pod := range map[string]*corev1.Pod{"literally": with(corev1.EnvVar{Name: "A", Value: value}), "of a key": with(ofKey("A", "m", "k")), "of a whole ConfigMap": whole,
			"of a field": annotated} {
			plan, err := inject.Decide(pod, data)
			got := "left"
			switch {
			case err != nil:
				got = "refused"
			case !plan.IsEmpty():
				got = "injected"
				record := ""
				for _, v := range inject.Mutate(pod, plan, settings()).Spec.Containers[0].Env {
					record += v.Value
				}
				assert.Contains(t, record, "db@azurekeyvault", where)
			case len(plan.Warnings) > 0:
				got = "warned"
				assert.NotContains(t, strings.Join(plan.Warnings, " "), "pw@")
			}
			assert.Equal(t, want, got, "%q %s", value, where)
		}
	}
	pod := with(corev1.EnvVar{Name: "A", Value: "plain"})
	pod.Spec.Containers[0].Args = []string{"--password", "db@azurekeyvault"}
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	require.Len(t, plan.Warnings, 1)
	assert.Contains(t, plan.Warnings[0], "command or args is not resolved")
}

func TestMountsInOursAreRefused(t *testing.T) {
	for at, refused := range map[string]bool{
		"/azure-keyvault": true, "/azure-keyvault/": true, "/azure-keyvault/certs": true, "//azure-keyvault//x": true, "/app/../azure-keyvault/x": true, "azure-keyvault/x": true, "/": true,
		"/var/run/secrets/akv2k8s.io": true, "/run/secrets/akv2k8s.io": true, "/var/run/secrets/akv2k8s.io/x": true, "/run/secrets/akv2k8s.io/token": true,
		"/azure-keyvault-env": false, "/azure": false, "/var/run": false, "/run": false, "/var/run/secrets": false, "/run/secrets/mine": false,
	} {
		pod := with(referenceA)
		pod.Spec.Volumes = []corev1.Volume{{Name: "mine", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "map", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}}
		pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "mine", MountPath: at, SubPath: "x"}}
		_, err := inject.Decide(pod, nil)
		assert.Equal(t, refused, err != nil, "%s: %v", at, err)
		pod.Spec.Containers[0].VolumeMounts[0].Name = "map"
		_, err = inject.Decide(pod, nil)
		above := at == "/var/run" || at == "/run" || at == "/var/run/secrets"
		assert.Equal(t, refused || above, err != nil, "what is read-only has no room for ours: %s: %v", at, err)
		pod.Spec.Containers[0].VolumeMounts, pod.Spec.Containers[0].VolumeDevices = nil, []corev1.VolumeDevice{{Name: "mine", DevicePath: at}}
		_, err = inject.Decide(pod, nil)
		assert.Equal(t, refused || above, err != nil, "a device: %s: %v", at, err)
	}
}
