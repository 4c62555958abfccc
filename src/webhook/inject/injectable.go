package inject

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// checkInjectable checks that the container can be wrapped. onWindows is the reason why the pod can only run on
// Windows, or empty.
func checkInjectable(c corev1.Container, onWindows string) error {
	if onWindows != "" {
		return invalidContainerError(c,
			"the pod is for Windows (%s), which the env-injector does not support; let the controller write a "+
				"Kubernetes Secret (spec.output.secret) and use that", onWindows)
	}
	if len(validation.IsDNS1123Label(c.Name)) > 0 { // the API server checks names after the webhook
		return invalidContainerError(c,
			"this is not a valid name of a container; use at most 63 lower-case letters, digits and dashes")
	}
	for _, variable := range c.Env {
		if isReserved(variable.Name) && !isWrapped(c) {
			return invalidContainerError(c, "variable %s is reserved; remove it", variable.Name)
		}
	}
	return nil
}

// checkReservedNames rejects a pod with volumes, init containers or mounts of its own under our names and paths. To
// replace them without a message would lose what the user wrote.
func checkReservedNames(pod *corev1.Pod) error {
	for _, volume := range pod.Spec.Volumes {
		if IsForeignVolume(volume) {
			return fault.New(fault.Invalid,
				"the volume name %s is reserved for the env-injector; rename the pod's own volume", volume.Name)
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if IsReservedInitContainer(container) && !isOwnInitContainer(container) {
			return fault.New(fault.Invalid,
				"the container name %s is reserved for the env-injector; rename the pod's own container",
				container.Name)
		}
	}
	return checkMounts(pod, slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers))
}

// checkMounts rejects mounts and devices of containers of the pod that conflict with our mount paths.
func checkMounts(pod *corev1.Pod, containers []corev1.Container) error {
	readOnly := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		readOnly[v.Name] = v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil ||
			v.Image != nil
	}
	for _, container := range containers {
		for _, mount := range container.VolumeMounts {
			if err := checkMount(container, mount, mount.ReadOnly || readOnly[mount.Name]); err != nil {
				return err
			}
		}
		for _, device := range container.VolumeDevices {
			if err := checkMount(container, corev1.VolumeMount{Name: device.Name, MountPath: device.DevicePath},
				true); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMount rejects a mount at or below one of our paths, and a read-only mount above one. Below a read-only mount the
// container runtime cannot create the directory of another mount.
func checkMount(c corev1.Container, mount corev1.VolumeMount, readOnly bool) error {
	where := canonicalPath(mount.MountPath)
	for ours, owners := range reservedMountPaths() {
		if where == ours && slices.Contains(owners, mount.Name) {
			continue
		}
		above := where == "/" || readOnly && strings.HasPrefix(ours, where+"/")
		if where == ours || above || strings.HasPrefix(where, ours+"/") {
			return invalidContainerError(c,
				"the mount path %s is reserved for the env-injector, which mounts its own volume at %s; mount volume "+
					"%s elsewhere",
				PrintableName(mount.MountPath), ours, PrintableName(mount.Name))
		}
	}
	return nil
}

// canonicalPath is the absolute path without dots and double slashes. It replaces /run by /var/run, because one is a
// link to the other in almost every image.
func canonicalPath(at string) string {
	at = path.Clean("/" + at)
	if rest, ok := strings.CutPrefix(at, "/run/"); ok {
		return "/var/run/" + rest
	}
	if at == "/run" {
		return "/var/run"
	}
	return at
}

// IsForeignVolume says whether a volume has one of our names, but not the type of our volume.
func IsForeignVolume(v corev1.Volume) bool {
	return (v.Name == wire.VolumeInjector && v.EmptyDir == nil && v.Image == nil) ||
		(v.Name == wire.VolumeEnvFiles && v.EmptyDir == nil) ||
		((v.Name == wire.VolumeToken || v.Name == wire.VolumeAPIAccess) && v.Projected == nil)
}

// reservedMountPaths are our mount paths, each with the volumes that we mount there.
func reservedMountPaths() map[string][]string {
	return map[string][]string{strings.TrimSuffix(wire.MountInjector, "/"): {wire.VolumeInjector},
		strings.TrimSuffix(wire.MountToken, "/"): {wire.VolumeToken, wire.VolumeAPIAccess}}
}

// isWrapped says whether an earlier mutation wrapped the container.
func isWrapped(c corev1.Container) bool {
	return len(c.Command) == 1 && c.Command[0] == wire.InjectorPath
}

// isAuthServiceDisabled says whether the container switches the auth service off and reads vaults with its own
// credentials.
func isAuthServiceDisabled(c corev1.Container) bool {
	return isTrueInEnv(c, wire.EnvDisableAuthService)
}

// invalidContainerError is an error of kind fault.Invalid about a container.
func invalidContainerError(c corev1.Container, format string, args ...any) error {
	return fault.New(fault.Invalid, "container %q: %s", PrintableName(c.Name), fmt.Sprintf(format, args...))
}
