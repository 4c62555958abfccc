package filescontainer_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/filescontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

var update = flag.Bool("update", false, "write the golden files")

func settings() inject.Settings {
	return inject.Settings{Image: "registry/env:1", PullPolicy: corev1.PullIfNotPresent, CA: "PEM", Broker: "akv2k8s.svc:9443", BrokerAddress: "10.0.0.9:9443"}
}

// newPod is a pod with two containers and these annotations.
func newPod(annotations map[string]string) *corev1.Pod {
	pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "migrate"}},
		Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}, {Name: "log"}}}}
	pod.Annotations = annotations
	return pod
}

const one = "/etc/app/password: db@azurekeyvault?password"

// golden compares the pod with a golden file.
func golden(t *testing.T, name string, pod *corev1.Pod) {
	t.Helper()
	got, err := yaml.Marshal(pod.Spec)
	require.NoError(t, err)
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func add(t *testing.T, pod *corev1.Pod, s inject.Settings) *corev1.Pod {
	t.Helper()
	plan, err := filescontainer.Decide(pod, s.Direct)
	require.NoError(t, err)
	before := pod.DeepCopy()
	out := filescontainer.Add(pod, plan, s)
	assert.Equal(t, before, pod, "the argument stays unchanged")
	again := out.DeepCopy()
	filescontainer.Remove(again)
	plan, err = filescontainer.Decide(again, s.Direct)
	require.NoError(t, err)
	assert.Equal(t, out, filescontainer.Add(again, plan, s), "a second call of the webhook changes nothing")
	return out
}

func TestGoldens(t *testing.T) {
	every := map[string]string{wire.AnnotationFiles: one + `
/etc/tls/: web@azurekeyvault
/srv/web.pfx: {from: web@azurekeyvault, format: pfx, password: pw@azurekeyvault, mode: "0400"}`,
		wire.AnnotationContainerFiles + "log": "/etc/app/password: log@azurekeyvault", wire.AnnotationRefreshInterval: "90s", wire.AnnotationOnChange: "http://localhost:8080/reload"}
	t.Run("sidecar", func(t *testing.T) { golden(t, "sidecar", add(t, newPod(every), settings())) })
	t.Run("once", func(t *testing.T) {
		golden(t, "once", add(t, newPod(map[string]string{wire.AnnotationFiles: one, wire.AnnotationRefreshInterval: "0"}), settings()))
	})
	t.Run("never restarted", func(t *testing.T) {
		pod := newPod(map[string]string{wire.AnnotationFiles: one})
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		golden(t, "never-restarted", add(t, pod, settings()))
	})
	t.Run("own credentials", func(t *testing.T) {
		pod := newPod(map[string]string{wire.AnnotationContainerFiles + "app": one})
		pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "AZURE_CLIENT_ID", Value: "id"}, {Name: "AZURE_FEDERATED_TOKEN_FILE", Value: "/var/run/azure/token"}, {Name: "OTHER", Value: "x"},
			{Name: wire.EnvDisableAuthService, Value: "true"}}
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "azure", MountPath: "/var/run/azure"})
		pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "sp"}}}}
		golden(t, "own-credentials", add(t, pod, settings()))
	})
}

func TestTheRecordIsWhatTheAnnotationsSay(t *testing.T) {
	out := add(t, newPod(map[string]string{wire.AnnotationFiles: "/a/$b/: web@azurekeyvault", wire.AnnotationRefreshInterval: " 5m "}), settings())
	var record wire.PodFiles
	found := false
	for _, variable := range out.Spec.InitContainers[0].Env {
		if variable.Name == wire.EnvFiles {
			found = true
			assert.NotContains(t, variable.Value, "$", "the kubelet expands nothing")
			require.NoError(t, json.Unmarshal([]byte(variable.Value), &record))
		}
	}
	require.True(t, found)
	assert.Equal(t, wire.PodFiles{RefreshSeconds: ptr.To(int64(300)), Directories: map[string][]wire.FileEntry{"0": {{Path: ".", IsFolder: true, Reference: "web@azurekeyvault", Mode: 0o644}}}}, record)
}

func TestWhatCantWorkIsRejected(t *testing.T) {
	many := &strings.Builder{}
	for i := range limits.PodFiles {
		fmt.Fprintf(many, "/a/%d%s: x@azurekeyvault\n", i, strings.Repeat("f", 130))
	}
	files := func(more ...string) map[string]string {
		annotations := map[string]string{wire.AnnotationFiles: one}
		for i := 0; i+1 < len(more); i += 2 {
			annotations[more[i]] = more[i+1]
		}
		return annotations
	}
	for name, c := range map[string]struct {
		annotations map[string]string
		change      func(*corev1.Pod)
		says        string
	}{
		"a path that leaves its folder": {files(wire.AnnotationFiles, "/etc/app/../x: a@azurekeyvault"), nil, "begins with two dots"},
		"a mount of the pod":            {files(wire.AnnotationFiles, "/data/x: a@azurekeyvault"), nil, `is already the mount of volume "data"`},
		"no duration":                   {files(wire.AnnotationRefreshInterval, "often"), nil, "is not a duration"},
		"too short an interval":         {files(wire.AnnotationRefreshInterval, "59s"), nil, "is not between 1 minute and"},
		"a negative interval":           {files(wire.AnnotationRefreshInterval, "-1h"), nil, "is not between"},
		"too long an interval":          {files(wire.AnnotationRefreshInterval, "25h"), nil, "is not between"},
		"a call of files written once":  {files(wire.AnnotationRefreshInterval, "0", wire.AnnotationOnChange, "http://localhost:1/"), nil, "remove one of the two"},
		"another host":                  {files(wire.AnnotationOnChange, "http://169.254.169.254:80/"), nil, "is on another host than localhost"},
		"a host that only begins so":    {files(wire.AnnotationOnChange, "http://localhost.evil.example:80/"), nil, "is on another host"},
		"a user that looks like a host": {files(wire.AnnotationOnChange, "http://localhost:80@evil.example/"), nil, "has a user name"},
		"another scheme":                {files(wire.AnnotationOnChange, "https://localhost:1/"), nil, "is not a URL with http"},
		"no port":                       {files(wire.AnnotationOnChange, "http://localhost/"), nil, "has no port"},
		"port 0":                        {files(wire.AnnotationOnChange, "http://localhost:0/"), nil, "has no port"},
		"no URL":                        {files(wire.AnnotationOnChange, "http://localhost:1/\n"), nil, "is not a URL"},
		"a long URL":                    {files(wire.AnnotationOnChange, "http://localhost:1/"+strings.Repeat("x", 1024)), nil, "has more than 1 KiB"},
		"a reserved container":          {files(), func(p *corev1.Pod) { p.Spec.Containers[1].Name = wire.FilesContainer }, "the container name sync-azurekeyvault-files is reserved"},
		"a reserved volume":             {files(), func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: wire.VolumeFiles}} }, "the volume name akv2k8s-files is reserved"},
		"the token as another volume":   {files(), func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: wire.VolumeToken}} }, "the volume name akv2k8s-token is reserved"},
		"Windows":                       {files(), func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "the pod is for Windows"},
		"containers of two kinds": {files(), func(p *corev1.Pod) {
			p.Spec.Containers[1].Env = []corev1.EnvVar{{Name: wire.EnvDisableAuthService, Value: "true"}}
		}, `containers "migrate" and "log" have files, and only one of them uses the auth service`},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(c.annotations)
			if c.change != nil {
				c.change(pod)
			}
			plan, err := filescontainer.Decide(pod, false)
			require.ErrorContains(t, err, c.says)
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.True(t, plan.IsEmpty())
			assert.Less(t, len(err.Error()), 1000)
		})
	}
	_, err := filescontainer.Decide(newPod(map[string]string{wire.AnnotationFiles: many.String()}), false)
	assert.NoError(t, err, "as many files as are allowed fit into the record")
}

func TestDifferentCredentialsAreRejected(t *testing.T) {
	pod := newPod(map[string]string{wire.AnnotationFiles: one})
	pod.Spec.InitContainers = nil
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Env = []corev1.EnvVar{{Name: "AZURE_CLIENT_ID", Value: "same"}}
	}
	_, err := filescontainer.Decide(pod, true)
	assert.NoError(t, err)
	pod.Spec.Containers[1].Env = append(pod.Spec.Containers[1].Env, corev1.EnvVar{Name: "AZURE_TENANT_ID", Value: "canary"})
	_, err = filescontainer.Decide(pod, true)
	require.ErrorContains(t, err, `containers "app" and "log" have files, and different values of AZURE_TENANT_ID`)
	assert.NotContains(t, err.Error(), "canary")
}

func TestPodsWithoutFilesStayAsTheyAre(t *testing.T) {
	excluded := newPod(map[string]string{wire.AnnotationFiles: one})
	excluded.Labels = map[string]string{wire.LabelInject: "false"}
	for _, pod := range []*corev1.Pod{newPod(nil), excluded, newPod(map[string]string{wire.AnnotationFiles: "{}"}), newPod(map[string]string{wire.AnnotationOnChange: "what"})} {
		plan, err := filescontainer.Decide(pod, false)
		require.NoError(t, err)
		assert.True(t, plan.IsEmpty())
		assert.Equal(t, pod, filescontainer.Add(pod, plan, settings()))
		_, unused := pod.Annotations[wire.AnnotationOnChange]
		assert.Len(t, plan.Warnings, map[bool]int{true: 1}[unused])
	}
}

func TestWarnings(t *testing.T) {
	private := map[string]string{wire.AnnotationFiles: `{"/a/b": {"from": "x@azurekeyvault", "mode": "0400"}}`}
	as := func(user int64) *corev1.SecurityContext { return &corev1.SecurityContext{RunAsUser: &user} }
	for name, c := range map[string]struct {
		users []*corev1.SecurityContext
		warns bool
	}{"no user": {[]*corev1.SecurityContext{nil, nil}, true}, "one user": {[]*corev1.SecurityContext{as(7), as(7)}, false},
		"two users": {[]*corev1.SecurityContext{as(7), as(8)}, true}, "root": {[]*corev1.SecurityContext{as(0), as(0)}, true}} {
		pod := newPod(private)
		pod.Spec.InitContainers = nil
		for i := range pod.Spec.Containers {
			pod.Spec.Containers[i].SecurityContext = c.users[i]
		}
		plan, err := filescontainer.Decide(pod, false)
		require.NoError(t, err)
		assert.Equal(t, c.warns, len(plan.Warnings) == 1, "%s: %v", name, plan.Warnings)
	}
	mesh := newPod(map[string]string{wire.AnnotationFiles: one})
	mesh.Spec.Containers = append(mesh.Spec.Containers, corev1.Container{Name: "istio-proxy"})
	plan, err := filescontainer.Decide(mesh, false)
	require.NoError(t, err)
	require.Len(t, plan.Warnings, 1)
	assert.Contains(t, plan.Warnings[0], "exclude the auth service")
}

func TestTheContainerStandsBehindOursAndInFrontOfThePods(t *testing.T) {
	pod := newPod(map[string]string{wire.AnnotationFiles: one})
	pod.Spec.InitContainers = append([]corev1.Container{{Name: wire.InitContainer}}, pod.Spec.InitContainers...)
	plan, err := filescontainer.Decide(pod, false)
	require.NoError(t, err)
	var names []string
	for _, c := range filescontainer.Add(pod, plan, settings()).Spec.InitContainers {
		names = append(names, c.Name)
	}
	assert.Equal(t, []string{wire.InitContainer, wire.FilesContainer, "migrate"}, names)
}
