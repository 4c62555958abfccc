package inject_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

func TestWhatCarriesOurNamesIsRefused(t *testing.T) {
	reference := corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	mounted := func(source corev1.VolumeSource, mount corev1.VolumeMount) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "own", VolumeSource: source})
			mount.Name = "own"
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, mount)
		}
	}
	volume := func(name string, source corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		}
	}
	const above, at = "/var/run/secrets", "/var/run/secrets/akv2k8s.io"
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"nothing of ours":                    {func(*corev1.Pod) {}, ""},
		"a container without a valid name":   {func(p *corev1.Pod) { p.Spec.Containers[0].Name = "Not Valid" }, "not a valid name of a container"},
		"a volume of the binary's name":      {volume("azure-keyvault-env", secret), "volume name azure-keyvault-env is reserved"},
		"a volume of the token's name":       {volume("akv2k8s-token", empty), "volume name akv2k8s-token is reserved"},
		"a volume of the API's name":         {volume("akv2k8s-api", empty), "volume name akv2k8s-api is reserved"},
		"an init container of our name":      {func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "copy-azurekeyvault-env"}} }, "container name copy-azurekeyvault-env is reserved"},
		"a mount where ours is":              {mounted(empty, corev1.VolumeMount{MountPath: at}), "is reserved for the env-injector"},
		"a mount where ours is, by the link": {mounted(empty, corev1.VolumeMount{MountPath: "/run/secrets/akv2k8s.io/"}), "is reserved for the env-injector"},
		"a mount below ours":                 {mounted(empty, corev1.VolumeMount{MountPath: at + "/x"}), "is reserved for the env-injector"},
		"a mount above ours":                 {mounted(empty, corev1.VolumeMount{MountPath: above}), ""},
		"a mount of everything":              {mounted(empty, corev1.VolumeMount{MountPath: "/"}), "is reserved for the env-injector"},
		"a read-only mount above":            {mounted(empty, corev1.VolumeMount{MountPath: above, ReadOnly: true}), "is reserved for the env-injector"},
		"a Secret above":                     {mounted(secret, corev1.VolumeMount{MountPath: above}), "is reserved for the env-injector"},
		"a ConfigMap above":                  {mounted(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}, corev1.VolumeMount{MountPath: above}), "is reserved for the env-injector"},
		"projected files above":              {mounted(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}, corev1.VolumeMount{MountPath: above}), "is reserved for the env-injector"},
		"fields of the pod above":            {mounted(corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, corev1.VolumeMount{MountPath: above}), "is reserved for the env-injector"},
		"an image above":                     {mounted(corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}, corev1.VolumeMount{MountPath: above}), "is reserved for the env-injector"},
		"a Secret elsewhere":                 {mounted(secret, corev1.VolumeMount{MountPath: "/var/run/secrets-of-others"}), ""},
		"our own volume at the other one's path": {func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "akv2k8s-token", MountPath: "/azure-keyvault"}}
		}, "is reserved for the env-injector"},
		"a device where ours is": {func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "d", DevicePath: at}}
		}, "is reserved for the env-injector"},
		"a variable of ours": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "ENV_INJECTOR_CA"})
		}, "ENV_INJECTOR_CA is reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := with(reference)
			c.change(pod)
			_, err := inject.Decide(pod, nil)
			if c.says == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.says)
			}
		})
	}
}
