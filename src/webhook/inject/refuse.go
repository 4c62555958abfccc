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

// possible checks that the container can be wrapped. onWindows is the reason why the pod can only run on Windows, or
// empty.
func possible(c corev1.Container, onWindows string) error {
	if onWindows != "" {
		return refuse(c,
			"the pod is for Windows (%s), which the env-injector does not support; let the controller write a "+
				"Kubernetes Secret (spec.output.secret) and use that", onWindows)
	}
	if len(validation.IsDNS1123Label(c.Name)) > 0 { // the API server checks names after the webhook
		return refuse(c,
			"this is not a valid name of a container; use at most 63 lower-case letters, digits and dashes")
	}
	for _, variable := range c.Env {
		if isOurs(variable.Name) && !wrapped(c) {
			return refuse(c, "variable %s is reserved; remove it", variable.Name)
		}
	}
	return nil
}

// reserved rejects a pod with volumes, init containers or mounts of its own under our names and paths. To replace them
// without a message would lose what the user wrote.
func reserved(pod *corev1.Pod) error {
	for _, volume := range pod.Spec.Volumes {
		if foreign(volume) {
			return fault.New(fault.Invalid,
				"the volume name %s is reserved for the env-injector; rename the pod's own volume", volume.Name)
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == wire.InitContainer && !slices.ContainsFunc(container.VolumeMounts, ofBinary) {
			return fault.New(fault.Invalid,
				"the container name %s is reserved for the env-injector; rename the pod's own container",
				container.Name)
		}
	}
	return checkMounts(pod)
}

// checkMounts rejects mounts and devices of the pod that conflict with our mount paths.
func checkMounts(pod *corev1.Pod) error {
	readOnly := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		readOnly[v.Name] = v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil ||
			v.Image != nil
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
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
	for ours, owners := range mountPaths() {
		if where == ours && slices.Contains(owners, mount.Name) {
			continue
		}
		above := where == "/" || readOnly && strings.HasPrefix(ours, where+"/")
		if where == ours || above || strings.HasPrefix(where, ours+"/") {
			return refuse(c,
				"the mount path %s is reserved for the env-injector, which mounts its own volume at %s; mount volume "+
					"%s elsewhere",
				Shown(mount.MountPath), ours, Shown(mount.Name))
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

// foreign says whether a volume has one of our names, but not the type of our volume.
func foreign(v corev1.Volume) bool {
	return (v.Name == wire.VolumeBinary && v.EmptyDir == nil) ||
		((v.Name == wire.VolumeToken || v.Name == wire.VolumeAPI) && v.Projected == nil)
}

// mountPaths are our mount paths, each with the volumes that we mount there.
func mountPaths() map[string][]string {
	return map[string][]string{strings.TrimSuffix(wire.MountBinary, "/"): {wire.VolumeBinary},
		strings.TrimSuffix(wire.MountToken, "/"): {wire.VolumeToken, wire.VolumeAPI}}
}

// ofBinary says whether the volume with the injector is mounted.
func ofBinary(mount corev1.VolumeMount) bool { return mount.Name == wire.VolumeBinary }

// wrapped says whether an earlier mutation wrapped the container.
func wrapped(c corev1.Container) bool {
	return len(c.Command) == 1 && c.Command[0] == wire.InjectorPath
}

// disabled says whether the container switches the auth service off and reads vaults with its own credentials.
func disabled(c corev1.Container) bool {
	return isTrue(c, wire.EnvDisable)
}

// refuse is an error of kind fault.Invalid about a container.
func refuse(c corev1.Container, format string, args ...any) error {
	return fault.New(fault.Invalid, "container %q: %s", Shown(c.Name), fmt.Sprintf(format, args...))
}
