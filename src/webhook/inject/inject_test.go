package inject_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

var update = flag.Bool("update", false, "rewrite the expected files")

func settings() inject.Settings {
	return inject.Settings{Image: "ghcr.io/akv2k8s/env:2.0.0", PullPolicy: corev1.PullIfNotPresent, CA: "-----CA-----\n",
		Broker: "akv2k8s-envinjector.akv2k8s.svc:9443", BrokerAddress: "10.96.7.7:9443", LogLevel: "info", LogFormat: "text"}
}

// withoutAuthService are the settings of an installation in a private cloud whose pods read vaults themselves.
func withoutAuthService() inject.Settings {
	s := settings()
	s.Direct, s.Cloud, s.ExtraCAs, s.AuthType = true, `{"name":"AzureStackCloud"}`, "-----EXTRA-----\n", "environment-azidentity"
	return s
}

// sources are the ConfigMaps and Secrets that the pods in testdata use.
func sources() inject.Sources {
	return inject.Sources{
		{Kind: inject.KindConfigMap, Name: "settings"}: inject.NewSource(map[string]string{"DB": "of-map@azurekeyvault?user", "PLAIN": "x", "OVERRIDDEN": "gone@azurekeyvault",
			"odd $(NAME)": "odd@azurekeyvault"}),
		{Kind: inject.KindConfigMap, Name: "plain"}:    inject.NewSource(map[string]string{"PLAIN": "x"}),
		{Kind: inject.KindConfigMap, Name: "broken"}:   inject.NewSource(map[string]string{"bad": "hunter2 @azurekeyvault"}),
		{Kind: inject.KindSecret, Name: "credentials"}: inject.NewSource(map[string][]byte{"db": []byte("of-secret@azurekeyvault"), "password": []byte("hunter2")}),
		{Kind: inject.KindConfigMap, Name: "later"}:    {Missing: true},
		{Kind: inject.KindSecret, Name: "hidden"}:      {Forbidden: true},
	}
}

// result is the result of the admission as text, and the mutated pod: the error, or the warnings and the pod as YAML.
func result(t *testing.T, pod *corev1.Pod, s inject.Settings) (string, *corev1.Pod) {
	t.Helper()
	pod = pod.DeepCopy()
	inject.RestoreReferences(pod)
	before := pod.DeepCopy()
	plan, err := inject.Decide(pod, sources())
	if err == nil {
		err = plan.CheckEnvFile(pod, s.Direct)
	}
	if err != nil {
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
		return "refused: " + err.Error() + "\n", nil
	}
	for i := range plan.Targets {
		if target := &plan.Targets[i]; target.LookupImage != "" { // as if the image had been read
			assert.Equal(t, "app:1", target.LookupImage)
			target.Entrypoint, target.Cmd = []string{"/entrypoint", "$(DB)"}, []string{"--of-image", "$HOME"}
		}
	}
	out := inject.Mutate(pod, plan, s)
	assert.Equal(t, before, pod, "the pod that was given stays as it was")
	var text strings.Builder
	if !s.InjectsProbes(pod) {
		plan.Warnings = append(plan.Warnings, plan.ProbeWarnings(pod)...)
	}
	for _, warning := range plan.Warnings {
		text.WriteString("# warning: " + warning + "\n")
	}
	for _, target := range plan.Targets {
		if target.Precaution {
			text.WriteString("# as a precaution: " + target.Container + "\n")
		}
	}
	content, err := yaml.Marshal(out)
	require.NoError(t, err)
	text.Write(content)
	return text.String(), out
}

func TestGoldens(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, inputs)
	used := map[string]bool{}
	for _, input := range inputs {
		expected := strings.Replace(input, ".in.yaml", ".out.yaml", 1)
		used[expected] = true
		t.Run(filepath.Base(input), func(t *testing.T) {
			content, err := os.ReadFile(input)
			require.NoError(t, err)
			var pod corev1.Pod
			require.NoError(t, yaml.UnmarshalStrict(content, &pod))
			s := settings()
			if strings.HasPrefix(filepath.Base(input), "without-auth-service") {
				s = withoutAuthService()
			}
			s.ImageVolume = strings.HasPrefix(filepath.Base(input), "image-volume")
			got, mutated := result(t, &pod, s)
			if *update {
				require.NoError(t, os.WriteFile(expected, []byte(got), 0o600))
			}
			want, err := os.ReadFile(expected)
			require.NoError(t, err, "write it by: go test ./src/webhook/inject -update")
			assert.Equal(t, string(want), got, "if this is right: go test ./src/webhook/inject -update")
			assert.NotContains(t, strings.SplitN(got, "\n", 2)[0], "hunter2", "no message holds a value")
			if mutated != nil {
				again, twice := result(t, mutated, s)
				assert.Equal(t, mutated, twice, "mutating twice equals mutating once")
				assert.Equal(t, got, again)
			}
		})
	}
	outputs, err := filepath.Glob("testdata/*.out.yaml")
	require.NoError(t, err)
	for _, output := range outputs {
		assert.True(t, used[output], "%s belongs to no input; remove it", output)
	}
}

// inputs are the pods in testdata that are not refused, by file.
func inputs(t *testing.T) map[string]*corev1.Pod {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	require.NoError(t, err)
	pods := map[string]*corev1.Pod{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		pod := &corev1.Pod{}
		require.NoError(t, yaml.UnmarshalStrict(content, pod))
		if plan, err := inject.Decide(pod, sources()); err == nil && plan.CheckEnvFile(pod, false) == nil {
			pods[file] = pod
		}
	}
	require.Greater(t, len(pods), 20)
	return pods
}

func TestAnImageVolumeChangesNothingButHowTheInjectorArrives(t *testing.T) {
	injected := 0
	for file, pod := range inputs(t) {
		byInit, byImage := settings(), settings()
		byImage.ImageVolume = true
		_, want := result(t, pod, byInit)
		_, got := result(t, pod, byImage)
		volume := slices.IndexFunc(got.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "azure-keyvault-env" })
		if volume < 0 {
			if inject.UsesEnvFile(pod) {
				assert.Equal(t, want, got, "%s: with env files the containers need no injector", file)
			} else {
				assert.Equal(t, pod, got, "%s is not injected", file)
			}
			continue
		}
		injected++
		assert.Equal(t, &corev1.ImageVolumeSource{Reference: byImage.Image, PullPolicy: byImage.PullPolicy}, got.Spec.Volumes[volume].Image, file)
		assert.Len(t, got.Spec.InitContainers, len(want.Spec.InitContainers)-1, file)
		// Everything else is equal, but for what depends on the check that the init container makes.
		got.Spec.Volumes[volume] = want.Spec.Volumes[volume]
		got.Spec.InitContainers = append([]corev1.Container{*want.Spec.InitContainers[0].DeepCopy()}, got.Spec.InitContainers...)
		for _, pods := range []*corev1.Pod{got, want} {
			for _, containers := range [][]corev1.Container{pods.Spec.InitContainers, pods.Spec.Containers} {
				for i := range containers {
					c := &containers[i]
					if p := c.StartupProbe; p != nil && p.Exec != nil && p.Exec.Command[0] == "/azure-keyvault/has-started" {
						if p.Exec.Command = p.Exec.Command[1:]; len(p.Exec.Command) == 0 {
							c.StartupProbe = nil
						}
					}
					c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool {
						return v.Name == "ENV_INJECTOR_DEFAULT_TIMEOUT" || v.Name == "ENV_INJECTOR_ADDED"
					})
				}
			}
		}
		assert.Equal(t, want, got, file)
	}
	assert.Greater(t, injected, 15)
}

func TestAPodThatIsAppliedAgainGetsTheDeliveryOfToday(t *testing.T) {
	for file, pod := range inputs(t) {
		byInit, byImage := settings(), settings()
		byImage.ImageVolume = true
		init, withInit := result(t, pod, byInit)
		image, withImage := result(t, pod, byImage)
		got, _ := result(t, withInit, byImage)
		assert.Equal(t, image, got, "%s: from an init container to an image volume", file)
		got, _ = result(t, withImage, byInit)
		assert.Equal(t, init, got, "%s: and back", file)
	}
}

// TestAPodWithEnvFilesCanBeAppliedAgainWithAnotherDelivery exports a pod with env files, and changes its annotation.
func TestAPodWithEnvFilesCanBeAppliedAgainWithAnotherDelivery(t *testing.T) {
	tried := 0
	for file, pod := range inputs(t) {
		if !inject.UsesEnvFile(pod) {
			continue
		}
		tried++
		_, mutated := result(t, pod, settings())
		mutated.Annotations["akv2k8s.io/delivery"] = "init"
		_, got := result(t, mutated, settings())
		for _, c := range append(got.Spec.InitContainers, got.Spec.Containers...) {
			assert.NotEqual(t, "check-azurekeyvault-env", c.Name, file)
			for _, v := range c.Env {
				assert.True(t, v.ValueFrom == nil || v.ValueFrom.FileKeyRef == nil, "%s: %s of %s is left to the kubelet", file, v.Name, c.Name)
			}
		}
		assert.Equal(t, []string{"/azure-keyvault/azure-keyvault-env"}, got.Spec.Containers[0].Command, file)
		for _, v := range got.Spec.Volumes {
			assert.NotEqual(t, "akv2k8s-env-files", v.Name, file)
		}
	}
	assert.GreaterOrEqual(t, tried, 2)
}

func TestAPodOfAnotherDeliveryCannotGetEnvFiles(t *testing.T) {
	pod := with(referenceA)
	plan, err := inject.Decide(pod, nil)
	require.NoError(t, err)
	mutated := inject.Mutate(pod, plan, settings())
	mutated.Annotations = map[string]string{"akv2k8s.io/delivery": "envfile"}
	plan, err = inject.Decide(mutated, nil)
	require.NoError(t, err)
	assert.ErrorContains(t, plan.CheckEnvFile(mutated, false), "has another delivery already; create the pod from its own manifest")
}

// TestARecordThatIsNotOursChangesNothing has env files and records that a user could write.
func TestARecordThatIsNotOursChangesNothing(t *testing.T) {
	fromFile := func(volume, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: "DB", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: volume, Path: "app.env", Key: key}}}
	}
	ours := corev1.Container{Name: "copy-azurekeyvault-env", VolumeMounts: []corev1.VolumeMount{{Name: "akv2k8s-env-files"}}}
	for name, c := range map[string]struct {
		record string
		own    bool
		value  corev1.EnvVar
	}{
		"another volume":         {`{"app/DB":"db@azurekeyvault"}`, true, fromFile("mine", "DB")},
		"another key":            {`{"app/DB":"db@azurekeyvault"}`, true, fromFile("akv2k8s-env-files", "OTHER")},
		"another container":      {`{"other/DB":"db@azurekeyvault"}`, true, fromFile("akv2k8s-env-files", "DB")},
		"a record that is none":  {`hunter2`, true, fromFile("akv2k8s-env-files", "DB")},
		"a container of its own": {`{"app/DB":"db@azurekeyvault"}`, false, fromFile("akv2k8s-env-files", "DB")},
	} {
		pod := with(c.value)
		init := *ours.DeepCopy()
		init.Env = []corev1.EnvVar{{Name: "ENV_INJECTOR_REFERENCES", Value: c.record}}
		if !c.own {
			init.VolumeMounts = nil
		}
		pod.Spec.InitContainers = []corev1.Container{init}
		before := pod.DeepCopy()
		inject.RestoreReferences(pod)
		assert.Equal(t, before, pod, name)
	}
}

func TestMutatingAgainRenewsWhatTheInstallationSays(t *testing.T) {
	content, err := os.ReadFile("testdata/one-reference.in.yaml")
	require.NoError(t, err)
	var pod corev1.Pod
	require.NoError(t, yaml.UnmarshalStrict(content, &pod))
	plan, err := inject.Decide(&pod, nil)
	require.NoError(t, err)
	old := settings()
	old.CA, old.Image, old.LogLevel = "old", "old", ""
	mutated := inject.Mutate(&pod, plan, old)
	plan, err = inject.Decide(mutated, nil)
	require.NoError(t, err)
	assert.Equal(t, inject.Mutate(&pod, plan, settings()), inject.Mutate(mutated, plan, settings()),
		"a pod that was exported and applied again gets today's certificate and image")
}

func TestAnInstallationThatChangesItsMindChangesPodsThatAreAppliedAgain(t *testing.T) {
	content, err := os.ReadFile("testdata/one-reference.in.yaml")
	require.NoError(t, err)
	var pod corev1.Pod
	require.NoError(t, yaml.UnmarshalStrict(content, &pod))
	plan, err := inject.Decide(&pod, nil)
	require.NoError(t, err)
	mutated := inject.Mutate(&pod, plan, withoutAuthService())
	plan, err = inject.Decide(mutated, nil)
	require.NoError(t, err)
	assert.Equal(t, inject.Mutate(&pod, plan, settings()), inject.Mutate(mutated, plan, settings()), "nothing of direct mode is left")
}

func TestTheInstallationMaySayWhatTheInitContainerAsksFor(t *testing.T) {
	group := int64(7)
	s := settings()
	s.InitContainer = initcontainer.Settings{RunAsUser: 2000, RunAsGroup: &group, WritableRoot: true, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")}}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Command: []string{"app"}, Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}}}}}
	_, out := result(t, pod, s)
	init := out.Spec.InitContainers[0]
	assert.Equal(t, []any{int64(2000), int64(7), false, true}, []any{*init.SecurityContext.RunAsUser, *init.SecurityContext.RunAsGroup, *init.SecurityContext.ReadOnlyRootFilesystem, *init.SecurityContext.RunAsNonRoot})
	assert.Equal(t, "128Mi", init.Resources.Requests.Memory().String())
	assert.Equal(t, "128Mi", init.Resources.Limits.Memory().String(), "a limit is never below its request")
	assert.Equal(t, "5m", init.Resources.Requests.Cpu().String())
}
