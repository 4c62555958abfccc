package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Paths of the injectors in their image.
const (
	ImageInjectorPath = "/usr/local/bin/azure-keyvault-env"
	// ImageThinInjectorPath is the path of the smaller injector, which supports the auth service alone.
	ImageThinInjectorPath = ImageInjectorPath + "-thin"
)

// newCopyContainer is the init container that copies the injector at the given path of its image into the pod, and
// waits until the references can be resolved.
func newCopyContainer(pod *corev1.Pod, injector string, found *referenceCheck, s Settings) corev1.Container {
	c := NewInitContainer(pod, []string{injector, "copy", wire.MountInjector}, s)
	c.VolumeMounts = []corev1.VolumeMount{{Name: wire.VolumeInjector, MountPath: wire.MountInjector}}
	if len(found.references) > 0 {
		c.Env = found.initContainerEnv(pod, s, wire.EnvCheckReferences, found.references)
		c.VolumeMounts = append(c.VolumeMounts, TokenMount())
	}
	return c
}

// NewInitContainer is an init container that runs a command of the image with the injectors.
func NewInitContainer(pod *corev1.Pod, command []string, s Settings) corev1.Container {
	return corev1.Container{
		Name: wire.InitContainer, Image: s.Image, ImagePullPolicy: s.PullPolicy,
		Command: command, Resources: s.InitContainer.ResourcesFor(pod, s.LimitRanges),
		SecurityContext: s.InitContainer.SecurityContext(pod),
	}
}
