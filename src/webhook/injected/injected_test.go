package injected_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/webhook/filescontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/injected"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// injectedPod is a pod as the webhook returns it.
func injectedPod(t *testing.T, annotations map[string]string, settings inject.Settings, more ...corev1.EnvVar) *corev1.Pod {
	t.Helper()
	source := func(name string) *corev1.ConfigMapKeySelector {
		return &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "k"}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "team", Annotations: annotations}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", Command: []string{"/app"}, Env: append([]corev1.EnvVar{
			{Name: "PLAIN", Value: "canary"}, {Name: "DB", Value: " db@azurekeyvault?password "},
			{Name: "PART", Value: "$(PLAIN)-x@azurekeyvault"},
			{Name: "FROM", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: source("config")}}}, more...)},
			{Name: "proxy", Command: []string{"/proxy"}}}}}
	sources := inject.Sources{{Kind: inject.KindConfigMap, Name: "config"}: inject.NewSource(map[string]string{"k": "from@azurekeyvault"})}
	plan, err := inject.Decide(pod, sources)
	require.NoError(t, err)
	return inject.Mutate(pod, plan, settings)
}

func TestReferencesAreReadFromAnInjectedPod(t *testing.T) {
	want := map[string]injected.Reference{
		"DB":   {Reference: envref.Reference{Name: "db", Query: "password"}, Origin: injected.OwnEnv},
		"PART": {Reference: envref.Reference{Name: "canary-x"}, Origin: injected.Recorded},
		"FROM": {Reference: envref.Reference{Name: "from"}, Origin: injected.Recorded},
	}
	for _, c := range []struct {
		annotations map[string]string
		want        injected.Delivery
	}{{nil, injected.ByInjector}, {map[string]string{wire.AnnotationDelivery: wire.DeliveryEnvFile}, injected.ByEnvFile}} {
		pod := injectedPod(t, c.annotations, inject.Settings{})
		containers := injected.Containers(pod)
		require.Len(t, containers, 2, "without those that the webhook added")
		assert.Equal(t, c.want, injected.DeliveryOf(containers[0]))
		assert.Equal(t, injected.None, injected.DeliveryOf(containers[1]))
		got := injected.References(pod, containers[0])
		if c.want == injected.ByEnvFile { // all of them are recorded
			want["DB"] = injected.Reference{Reference: want["DB"].Reference, Origin: injected.Recorded}
		}
		assert.Equal(t, want, got)
		assert.Empty(t, injected.References(pod, containers[1]))
		assert.False(t, injected.AllowsUnrecorded(containers[0]))
		assert.False(t, injected.UsesOwnCredentials(containers[0]))
		assert.False(t, injected.IsByV1(containers[0]))
	}
}

func TestTheReaderOfVaultsIsReadFromAnInjectedPod(t *testing.T) {
	missing := corev1.EnvVar{Name: "MISSING", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "config"}, Key: "none"}}}
	for _, c := range []struct {
		settings inject.Settings
		own      corev1.EnvVar
	}{{inject.Settings{Direct: true}, missing}, {inject.Settings{}, corev1.EnvVar{Name: wire.EnvDisableAuthService, Value: "true"}}} {
		pod := injectedPod(t, nil, c.settings, c.own)
		assert.True(t, injected.UsesOwnCredentials(pod.Spec.Containers[0]))
		assert.Equal(t, c.own.Name == "MISSING", injected.AllowsUnrecorded(pod.Spec.Containers[0]))
	}
}

func TestFilesAreReadFromAnInjectedPod(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{
		wire.AnnotationFiles:                  `{"/etc/a/password": "db@azurekeyvault?p", "/etc/a/all/": "all@azurekeyvault", "/srv/x.json": {"from": "x@azurekeyvault", "format": "json"}}`,
		wire.AnnotationContainerFiles + "app": `{"/srv/own": "own@azurekeyvault"}`}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "other"}}}}
	plan, err := filescontainer.Decide(pod, false)
	require.NoError(t, err)
	out := filescontainer.Add(pod, plan, inject.Settings{})
	require.Equal(t, wire.FilesContainer, injected.FilesWriter(out).Name)
	require.Len(t, injected.Containers(out), 2)
	found := map[string][]injected.File{}
	for _, c := range injected.Containers(out) {
		found[c.Name] = injected.Files(out, c)
	}
	other := []injected.File{
		{Reference: envref.Reference{Name: "all"}, Path: "/etc/a/all/", HasAllKeys: true},
		{Reference: envref.Reference{Name: "db", Query: "p"}, Path: "/etc/a/password"},
		{Reference: envref.Reference{Name: "x"}, Path: "/srv/x.json", HasAllKeys: true}}
	assert.ElementsMatch(t, other, found["other"])
	assert.ElementsMatch(t, append(other, injected.File{Reference: envref.Reference{Name: "own"}, Path: "/srv/own"}), found["app"])
	assert.Nil(t, injected.FilesWriter(pod))
	assert.Empty(t, injected.Files(pod, pod.Spec.Containers[0]))
	out.Spec.InitContainers[0].Env = []corev1.EnvVar{{Name: wire.EnvFiles, Value: "{"}}
	assert.Empty(t, injected.Files(out, out.Spec.Containers[0]))
}

func TestReferencesOfTheImageAndOfEphemeralContainersAreRead(t *testing.T) {
	pod := injectedPod(t, nil, inject.Settings{})
	c := pod.Spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: wire.EnvImageReferences, Value: `{"DB":"image@azurekeyvault","OTHER":"o@azurekeyvault"}`})
	got := injected.References(pod, c)
	assert.Equal(t, injected.OwnEnv, got["DB"].Origin, "the pod overrides the image")
	assert.Equal(t, injected.Image, got["OTHER"].Origin)
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)}}
	assert.Len(t, injected.Containers(pod), 3)
	c.Env = []corev1.EnvVar{{Name: wire.EnvReferences, Value: "{"}}
	assert.True(t, injected.IsByV1(c))
	assert.Empty(t, injected.References(pod, c))
}
