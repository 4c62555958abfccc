//go:build cluster

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// elsewhere are the files that can't be compared on a cluster, and why.
func elsewhere() map[string]string {
	return map[string]string{
		"without-auth-service":              "the installation has one",
		"waiting-with-a-hidden-source":      "the installation may read every Secret",
		"refused-env-file-forbidden-source": "the installation may read every Secret",
		"static-pod":                        "only a kubelet may create such pods",
	}
}

// goldens sends the pods of the unit tests through the real API server, which has to give the same ones.
func goldens(t *testing.T) {
	namespace := "goldens-" + strings.ToLower(nonce[:8])
	require.NoError(t, s.Namespace(t.Context(), namespace, map[string]string{"azure-key-vault-env-injection": "enabled"}))
	for name, data := range map[string]map[string]string{
		"settings": {"DB": "of-map@azurekeyvault?user", "PLAIN": "x", "OVERRIDDEN": "gone@azurekeyvault"}, "plain": {"PLAIN": "x"}, "broken": {"bad": "hunter2 @azurekeyvault"}} {
		require.NoError(t, s.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}))
	}
	for name, data := range map[string]map[string]string{"credentials": {"db": "of-secret@azurekeyvault", "password": "hunter2"}, "hidden": {"x": "y"}} {
		require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}))
	}
	inputs, err := filepath.Glob(filepath.Join(s.Root, "src/webhook/inject/testdata/*.in.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, inputs)
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in.yaml")
		if strings.HasPrefix(name, "image-volume") && !mountsImages(t) {
			t.Logf("%s is not compared: this cluster mounts no images", name)
			continue
		}
		if strings.HasPrefix(name, "env-file") && !readsEnvFiles(t) {
			t.Logf("%s is not compared: this cluster has no env files", name)
			continue
		}
		if why, skip := elsewhere()[name]; skip {
			t.Logf("%s is not compared: %s", name, why)
			continue
		}
		var pod, want corev1.Pod
		content, err := os.ReadFile(input)
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(content, &pod))
		expected, err := os.ReadFile(strings.Replace(input, ".in.", ".out.", 1))
		require.NoError(t, err)
		pod.Namespace = namespace
		// The results are those of an installation whose default is an init container.
		if _, demanded := pod.Annotations[wire.AnnotationDelivery]; !demanded {
			by(map[bool]string{true: "image", false: "init"}[strings.HasPrefix(name, "image-volume")], &pod)
		}
		err = s.Client.Create(t.Context(), &pod, client.DryRunAll)
		if refusal, refused := strings.CutPrefix(string(expected), "refused: "); refused {
			assert.ErrorContains(t, err, strings.TrimSpace(refusal), name)
			continue
		}
		if strings.Contains(string(expected), "/entrypoint") {
			assert.ErrorContains(t, err, "set the container's command", "%s: the image is none of this cluster's", name)
			continue
		}
		if !assert.NoError(t, err, name) {
			continue
		}
		require.NoError(t, yaml.Unmarshal(expected, &want))
		assert.Equal(t, described(want, "team"), described(pod, namespace), name)
	}
}

// described is what injection decides of a pod: in each container what it runs, its variables and mounts, and the pod's
// volumes. What differs from installation to installation, and what the API server adds, is left out.
func described(pod corev1.Pod, namespace string) map[string][]string {
	described := map[string][]string{}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		texts := slices.Concat([]string{"command"}, c.Command, []string{"args"}, c.Args)
		for _, v := range c.Env {
			switch {
			case slices.Contains([]string{"ENV_INJECTOR_CA", "ENV_INJECTOR_AUTH_SERVICE", "ENV_INJECTOR_AUTH_SERVICE_ADDRESS", "ENV_INJECTOR_EXTRA_CA", "ENV_INJECTOR_CLOUD", "ENV_INJECTOR_ADDED"}, v.Name):
			case v.Name == "ENV_INJECTOR_REFERENCES" || v.Name == "ENV_INJECTOR_CHECK_REFERENCES": // the unit test has a name more, which a ConfigMap can't have
				text := strings.ReplaceAll(v.Value, `,"odd \u0024(NAME)":"odd@azurekeyvault"`, "")
				text = strings.ReplaceAll(text, `,"app/odd \u0024(NAME)":"odd@azurekeyvault"`, "")
				texts = append(texts, v.Name+"="+strings.ReplaceAll(text, namespace, "team"))
			default:
				texts = append(texts, v.Name+"="+v.Value)
			}
		}
		for _, m := range c.VolumeMounts {
			if !strings.HasPrefix(m.Name, "kube-api-access") {
				texts = append(texts, "mount "+m.Name+" "+m.MountPath)
			}
		}
		if c.StartupProbe != nil && c.StartupProbe.Exec != nil {
			texts = append(texts, fmt.Sprint("startup probe ", c.StartupProbe.Exec.Command, c.StartupProbe.PeriodSeconds, c.StartupProbe.FailureThreshold))
		}
		described[c.Name] = texts
	}
	for _, v := range pod.Spec.Volumes {
		if !strings.HasPrefix(v.Name, "kube-api-access") {
			described["volumes"] = append(described["volumes"], v.Name)
		}
	}
	return described
}
