package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Plan is what Mutate will do.
type Plan struct {
	// Containers to wrap, by name; containers and init containers share one space of names.
	Containers []string
	// Warnings are sentences for whoever created the pod.
	Warnings []string
}

// Empty says whether the pod stays as it is.
func (p Plan) Empty() bool { return len(p.Containers) == 0 }

// Decide looks at every container and init container. A pod that could only start with a raw reference, or whose references can't be
// resolved, is refused: fault.Invalid with the container, the variable and the next step, but never with a value.
func Decide(pod *corev1.Pod) (Plan, error) {
	var plan Plan
	if pod.Labels[wire.LabelInject] == "false" {
		return plan, nil
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		referring, err := references(container)
		if err != nil {
			return Plan{}, err
		}
		plan.Warnings = append(plan.Warnings, warnings(container)...)
		if len(referring) == 0 {
			continue
		}
		if err := possible(container, referring); err != nil {
			return Plan{}, err
		}
		plan.Containers = append(plan.Containers, container.Name)
	}
	if plan.Empty() {
		return plan, nil
	}
	return plan, reserved(pod)
}

// references are the names of the container's variables that hold one.
func references(c corev1.Container) ([]string, error) {
	var names []string
	for _, variable := range c.Env {
		if variable.ValueFrom != nil || !envref.Meant(variable.Value) {
			continue
		}
		if _, err := envref.Parse(variable.Value); err != nil {
			return nil, refuse(c, "variable %s: %v", variable.Name, err)
		}
		names = append(names, variable.Name)
	}
	return names, nil
}

// warnings are about values that merely mention the marker.
func warnings(c corev1.Container) []string {
	var texts []string
	for _, variable := range c.Env {
		if !envref.Meant(variable.Value) && envref.Mentioned(variable.Value) {
			texts = append(texts, fmt.Sprintf("container %q, variable %s: the value contains @azurekeyvault but is no reference, "+
				"so it stays as it is; a reference has to be the whole value", c.Name, variable.Name))
		}
	}
	return texts
}

// possible says why the container can't be wrapped, or nil.
func possible(c corev1.Container, referring []string) error {
	if len(c.Command) == 0 {
		return refuse(c, "it refers to Key Vault but has no command; set command (and args) to what its image runs, "+
			"because this version does not look into images")
	}
	for _, variable := range c.Env {
		if slices.Contains(ours(), variable.Name) && !wrapped(c) {
			return refuse(c, "variable %s is reserved; remove it", variable.Name)
		}
	}
	return expansion(c, referring)
}

// expansion refuses $(NAME) of a variable that holds a reference: the kubelet would put the reference there, not the value.
func expansion(c corev1.Container, referring []string) error {
	for _, name := range referring {
		for _, text := range slices.Concat(c.Command, c.Args) {
			if expands(text, name) {
				return refuse(c, "command or args use $(%[1]s), but %[1]s refers to Key Vault and has no value yet when the kubelet expands it; "+
					`let a shell expand it: ["sh", "-c", "exec program \"$%[1]s\""]`, name)
			}
		}
		for _, variable := range c.Env {
			if expands(variable.Value, name) {
				return refuse(c, "variable %s uses $(%[2]s), but %[2]s refers to Key Vault and has no value yet when the kubelet expands it; "+
					"let the program put the two together", variable.Name, name)
			}
		}
	}
	return nil
}

// expands says whether the kubelet would expand $(name) in the text; $$ is an escaped dollar.
func expands(text, name string) bool {
	return strings.Contains(strings.ReplaceAll(text, "$$", ""), "$("+name+")")
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
				return refuse(container, "the mount path %s is reserved for the env-injector; mount volume %s elsewhere", mount.MountPath, mount.Name)
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

func refuse(c corev1.Container, format string, args ...any) error {
	return fault.New(fault.Invalid, "container %q: %s", c.Name, fmt.Sprintf(format, args...))
}
