package inject_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// handled are the fields of a pod that can hold an environment variable, a command or a volume, each with the way in
// which it is handled, or the reason why it stays unchanged.
func handled() map[string]string {
	fields := map[string]string{
		"Volumes":                  "ours are added and foreign ones of their names refused; values are environment variables, so what a volume holds stays as it is",
		"InitContainers":           "wrapped, native sidecars too",
		"Containers":               "wrapped",
		"EphemeralContainers":      "wrapped when they are added to a pod that was injected",
		"NodeSelector":             "tells the platform whose image is looked into, and Windows",
		"Affinity":                 "tells the platform whose image is looked into",
		"OS":                       "Windows is refused",
		"ImagePullSecrets":         "are what images are looked into with",
		"SecurityContext":          "gives the init container its user",
		"ServiceAccountName":       "may be a part of a reference, by a field",
		"DeprecatedServiceAccount": "is the same under its old name",
	}
	return fields
}

// inContainers are the same fields of a container.
func inContainers() map[string]string {
	return map[string]string{
		"Env": "handled", "EnvFrom": "handled", "Command": "becomes args of the injector", "Args": "become args of the injector", "Image": "is looked into without a command",
		"VolumeMounts": "ours are added", "SecurityContext": "gives the init container its user", "Resources": "decides the class of the init container's",
		"LivenessProbe": "a command gets a warning", "ReadinessProbe": "a command gets a warning", "StartupProbe": "a command gets a warning", "Lifecycle": "a command gets a warning",
		"VolumeDevices": "left alone: a device is no place for us",
	}
}

// carries says whether a type can hold an environment variable, a command, a volume or an image.
func carries(at reflect.Type, seen map[reflect.Type]bool) bool {
	switch at {
	case reflect.TypeFor[corev1.EnvVar](), reflect.TypeFor[corev1.EnvFromSource](), reflect.TypeFor[corev1.Volume](), reflect.TypeFor[corev1.VolumeMount](),
		reflect.TypeFor[corev1.VolumeDevice](), reflect.TypeFor[corev1.ExecAction](), reflect.TypeFor[corev1.LocalObjectReference]():
		return true
	}
	if seen[at] {
		return false
	}
	seen[at] = true
	switch at.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return carries(at.Elem(), seen)
	case reflect.Struct:
		for i := range at.NumField() {
			field := at.Field(i)
			if field.Name == "Command" || field.Name == "Args" || field.Name == "Image" || carries(field.Type, seen) {
				return true
			}
		}
	}
	return false
}

// TestEveryFieldThatMattersIsKnown fails when the API gets a new field that can hold a variable, a command, an image or
// a volume, and that is not in the lists above.
func TestEveryFieldThatMattersIsKnown(t *testing.T) {
	for of, known := range map[reflect.Type]map[string]string{reflect.TypeFor[corev1.PodSpec](): handled(), reflect.TypeFor[corev1.Container](): inContainers(),
		reflect.TypeFor[corev1.EphemeralContainerCommon](): inContainers()} {
		matters := 0
		for i := range of.NumField() {
			field := of.Field(i)
			if field.Name == "Command" || field.Name == "Args" || field.Name == "Image" || carries(field.Type, map[reflect.Type]bool{}) {
				matters++
				assert.NotEmpty(t, known[field.Name], "%s.%s can carry a variable, a command, an image or a volume: handle it, or say here why not", of, field.Name)
			}
		}
		assert.Positive(t, matters)
		for name := range known {
			_, exists := of.FieldByName(name)
			assert.True(t, exists, "%s has no field %s", of, name)
		}
	}
	var sources []string
	for i := range reflect.TypeFor[corev1.EnvVarSource]().NumField() {
		sources = append(sources, reflect.TypeFor[corev1.EnvVarSource]().Field(i).Name)
	}
	slices.Sort(sources)
	assert.Equal(t, []string{"ConfigMapKeyRef", "FieldRef", "FileKeyRef", "ResourceFieldRef", "SecretKeyRef"}, sources,
		"ConfigMapKeyRef, SecretKeyRef and FieldRef are handled; a resource is a number; a file is written by another container while the pod runs, so a "+
			"reference in it can't be known at admission and is refused by the broker")
	assert.Equal(t, 3, reflect.TypeFor[corev1.EnvFromSource]().NumField(), "prefix, ConfigMap and Secret are handled")
}

func podOf(t *testing.T, file string) *corev1.Pod {
	t.Helper()
	content, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var pod corev1.Pod
	require.NoError(t, yaml.UnmarshalStrict(content, &pod))
	return &pod
}

func TestAnEphemeralContainerMayNotMountOverTheInjector(t *testing.T) {
	old := podOf(t, "one-reference.out.yaml")
	pod := old.DeepCopy()
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debugger", Image: "busybox", Command: []string{"sh"}, Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}},
		VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/azure-keyvault/azure-keyvault-env"}}}}}
	_, err := inject.DecideEphemeral(old, pod, nil, false)
	assert.ErrorContains(t, err, "/azure-keyvault")
	pod.Spec.EphemeralContainers[0].Env = nil
	_, err = inject.DecideEphemeral(old, pod, nil, false)
	assert.NoError(t, err, "without references it is not injected")
}

func TestEphemeralContainersOfInjectedPods(t *testing.T) {
	for name, c := range map[string]struct {
		old    string
		direct bool
		env    []corev1.EnvVar
		says   string
	}{
		"in a pod that was injected": {"one-reference.out.yaml", false, []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}, ""},
		"in another":                 {"one-reference.in.yaml", false, []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}, "kubectl debug --copy-to"},
		"in one that was injected for the auth service": {"one-reference.out.yaml", true, []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}, "kubectl debug --copy-to"},
		"that reads for itself": {"one-container-reads-for-itself.out.yaml", false, []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"},
			{Name: "ENV_INJECTOR_DISABLE_AUTH_SERVICE", Value: "true"}}, ""},
		"without references": {"one-reference.in.yaml", false, []corev1.EnvVar{{Name: "A", Value: "a"}}, ""},
		"malformed":          {"one-reference.out.yaml", false, []corev1.EnvVar{{Name: "A", Value: "hunter2 @azurekeyvault"}}, "variable A"},
	} {
		t.Run(name, func(t *testing.T) {
			old := podOf(t, c.old)
			old.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "before",
				Env: []corev1.EnvVar{{Name: "OLD", Value: "malformed @azurekeyvault"}}}}}
			pod := old.DeepCopy()
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: "debugger", Image: "busybox", Command: []string{"sh"}, Args: []string{"-c", "$(A)"}, Env: c.env}})
			s := settings()
			s.Direct = c.direct
			plan, err := inject.DecideEphemeral(old, pod, nil, c.direct)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				assert.NotContains(t, err.Error(), "hunter2")
				return
			}
			require.NoError(t, err)
			out := inject.MutateEphemeral(pod, plan, s)
			debugger := out.Spec.EphemeralContainers[1]
			if strings.Contains(c.env[0].Value, "@") {
				assert.Equal(t, []string{"/azure-keyvault/azure-keyvault-env"}, debugger.Command)
				assert.Equal(t, []string{"sh", "-c", "$$(A)"}, debugger.Args)
				assert.Len(t, debugger.VolumeMounts, 2)
			} else {
				assert.Equal(t, pod.Spec.EphemeralContainers[1], debugger)
			}
			out.Spec.EphemeralContainers[1] = pod.Spec.EphemeralContainers[1]
			assert.Equal(t, pod, out, "nothing else changes")
		})
	}
	pod := podOf(t, "one-reference.in.yaml")
	pod.Labels = map[string]string{"akv2k8s.io/inject": "false"}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}}}}
	plan, err := inject.DecideEphemeral(pod, pod, nil, false)
	require.NoError(t, err)
	assert.True(t, plan.IsEmpty())
}

func TestWhatIsReadForAPod(t *testing.T) {
	assert.Equal(t, []inject.SourceName{{Kind: "ConfigMap", Name: "plain"}, {Kind: "ConfigMap", Name: "settings"}, {Kind: "Secret", Name: "credentials"}},
		inject.NeededSources(podOf(t, "from-sources.in.yaml")))
	assert.Empty(t, inject.NeededSources(podOf(t, "static-pod.in.yaml")))
	for key, value := range inject.NewSource(map[string][]byte{"secret": []byte("hunter2"), "reference": []byte("a@azurekeyvault")}).Values {
		assert.NotContains(t, value, "hunter2", key)
	}
}

func TestAContainerThatMayStayAsItIs(t *testing.T) {
	pod := podOf(t, "missing-source-is-open.in.yaml")
	plan, err := inject.Decide(pod, sources())
	require.NoError(t, err)
	require.NotNil(t, plan.TargetFor("app"))
	without := plan.WithoutContainer("app", "because")
	assert.Nil(t, without.TargetFor("app"))
	assert.Equal(t, []string{"because"}, without.Warnings)
	assert.NotNil(t, plan.TargetFor("app"), "the plan itself stays")
	assert.Equal(t, pod, inject.Mutate(pod, without, settings()))
}
