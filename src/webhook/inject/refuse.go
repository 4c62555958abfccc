package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// possible says why the container can't be wrapped, or nil.
func possible(pod *corev1.Pod, c corev1.Container) error {
	if windows(pod) {
		return refuse(c, "it refers to Key Vault, but the pod is for Windows, which the env-injector does not support; "+
			"let the controller sync a Kubernetes Secret (spec.output.secret) and use that")
	}
	if len(validation.IsDNS1123Label(c.Name)) > 0 { // the API server checks names after us
		return refuse(c, "this is not a valid name of a container; use lower-case letters, digits and dashes, 63 at most")
	}
	for _, variable := range c.Env {
		if isOurs(variable.Name) && !wrapped(c) {
			return refuse(c, "variable %s is reserved; remove it", variable.Name)
		}
	}
	return nil
}

// windows says whether the pod can only run there.
func windows(pod *corev1.Pod) bool {
	return (pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows) || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// reserved refuses what carries our names but is not ours; to replace it silently would lose what the user wrote.
func reserved(pod *corev1.Pod) error {
	for _, volume := range pod.Spec.Volumes {
		if foreign(volume) {
			return fault.New(fault.Invalid, "the volume name %s is reserved for the env-injector; rename the pod's own volume", volume.Name)
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == wire.InitContainer && !slices.ContainsFunc(container.VolumeMounts, ofBinary) {
			return fault.New(fault.Invalid, "the container name %s is reserved for the env-injector; rename the pod's own container", container.Name)
		}
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, mount := range container.VolumeMounts {
			if owners, taken := mountPaths()[strings.TrimSuffix(mount.MountPath, "/")]; taken && !slices.Contains(owners, mount.Name) {
				return refuse(container, "the mount path %s is reserved for the env-injector; mount volume %s elsewhere", Shown(mount.MountPath), Shown(mount.Name))
			}
		}
	}
	return nil
}

// foreign says whether a volume has a name of ours and is none of ours.
func foreign(v corev1.Volume) bool {
	return (v.Name == wire.VolumeBinary && v.EmptyDir == nil) || ((v.Name == wire.VolumeToken || v.Name == wire.VolumeAPI) && v.Projected == nil)
}

// mountPaths are ours, with the volumes that belong there.
func mountPaths() map[string][]string {
	return map[string][]string{strings.TrimSuffix(wire.MountBinary, "/"): {wire.VolumeBinary}, strings.TrimSuffix(wire.MountToken, "/"): {wire.VolumeToken, wire.VolumeAPI}}
}

func ofBinary(mount corev1.VolumeMount) bool { return mount.Name == wire.VolumeBinary }

// wrapped says whether the container went through Mutate already.
func wrapped(c corev1.Container) bool {
	return len(c.Command) == 1 && c.Command[0] == wire.InjectorPath
}

// disabled says whether the container reads for itself.
func disabled(c corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == wire.EnvDisable && v.Value == "true" })
}

func refuse(c corev1.Container, format string, args ...any) error {
	return fault.New(fault.Invalid, "container %q: %s", Shown(c.Name), fmt.Sprintf(format, args...))
}
