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

// possible says why the container can't be wrapped, or nil.
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

// reserved refuses what carries our names but is not ours; to replace it silently would lose what the user wrote.
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

// checkMounts refuses mounts and devices of the pod in folders of ours.
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

// checkMount refuses a mount at one of our paths, below one, where the runtime can't make its folder because ours are
// read-only, and above one if it is read-only itself.
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

// canonicalPath is where a path leads, with the link that almost every image has.
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

// foreign says whether a volume has a name of ours and is none of ours.
func foreign(v corev1.Volume) bool {
	return (v.Name == wire.VolumeBinary && v.EmptyDir == nil) ||
		((v.Name == wire.VolumeToken || v.Name == wire.VolumeAPI) && v.Projected == nil)
}

// mountPaths are ours, with the volumes that belong there.
func mountPaths() map[string][]string {
	return map[string][]string{strings.TrimSuffix(wire.MountBinary, "/"): {wire.VolumeBinary},
		strings.TrimSuffix(wire.MountToken, "/"): {wire.VolumeToken, wire.VolumeAPI}}
}

func ofBinary(mount corev1.VolumeMount) bool { return mount.Name == wire.VolumeBinary }

// wrapped says whether the container went through Mutate already.
func wrapped(c corev1.Container) bool {
	return len(c.Command) == 1 && c.Command[0] == wire.InjectorPath
}

// disabled says whether the container reads for itself.
func disabled(c corev1.Container) bool {
	return isTrue(c, wire.EnvDisable)
}

func refuse(c corev1.Container, format string, args ...any) error {
	return fault.New(fault.Invalid, "container %q: %s", Shown(c.Name), fmt.Sprintf(format, args...))
}
