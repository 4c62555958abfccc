package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// UsesEnvFile says whether the pod demands that the kubelet sets the values, from env files. The containers then keep
// their commands, and nothing is mounted into them.
func UsesEnvFile(pod *corev1.Pod) bool {
	return strings.EqualFold(strings.TrimSpace(pod.Annotations[wire.AnnotationDelivery]), wire.DeliveryEnvFile)
}

// CheckEnvFile rejects a pod that demands env files if its values can't be delivered like this. direct says that the
// installation has no auth service. The error is of kind fault.Invalid.
func (p Plan) CheckEnvFile(pod *corev1.Pod, direct bool) error {
	if !UsesEnvFile(pod) || p.IsEmpty() {
		return nil
	}
	if isAlwaysInjected(pod) {
		return envFileError("the annotation %s: always needs the injector in front of every command; remove one of "+
			"the two annotations", wire.AnnotationInject)
	}
	targets := p.targetsByName()
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if target := targets[c.Name]; target != nil {
			if err := checkEnvFileContainer(c, target.environment, direct); err != nil {
				return err
			}
		}
	}
	return nil
}

// envFileError is an error about the annotation of the pod.
func envFileError(format string, args ...any) error {
	return fault.New(fault.Invalid, "the annotation %s: %s of the pod can't work: %s", wire.AnnotationDelivery,
		wire.DeliveryEnvFile, fmt.Sprintf(format, args...))
}

// envFileKey matches the names that a variable in an env file can have.
var envFileKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// checkEnvFileContainer checks one container. Without the injector in front of its command, nothing would stop the
// container from starting with a reference in place of a value, so every source must be known.
func checkEnvFileContainer(c corev1.Container, e *environment, direct bool) error {
	name := PrintableName(c.Name)
	switch {
	case isWrapped(c): // what its command was is not known any more
		return envFileError("container %q has another delivery already; create the pod from its own manifest", name)
	case direct || isAuthServiceDisabled(c):
		return envFileError("container %q does not use the auth service, which has to write the values; change the "+
			"annotation to auto", name)
	case e.hasMissingSource:
		return envFileError("a ConfigMap, Secret or key that the environment of container %q names does not exist, and "+
			"a reference that is added later would stay text; create it before the pod, or change the annotation to "+
			"auto", name)
	case e.hasForbiddenSource:
		return envFileError("the env-injector may not read a ConfigMap or Secret that the environment of container %q "+
			"names, so references in it would stay text; see env_injector.sourceNamespaces, or change the annotation "+
			"to auto", name)
	}
	entries := map[string]int{}
	for _, entry := range c.Env {
		entries[entry.Name]++
	}
	for _, variable := range slices.Sorted(maps.Keys(e.knownReferences())) {
		if !envFileKey.MatchString(variable) {
			return envFileError("container %q: an env file can't have the variable %s; use at most 128 letters, "+
				"digits, underscores, dots and dashes, or change the annotation to auto", name, PrintableName(variable))
		}
		if entries[variable] > 1 {
			return envFileError("container %q lists the variable %s more than once; remove all but one", name,
				PrintableName(variable))
		}
	}
	return nil
}

// envFileMeshWarning warns of a proxy that starts after the init container.
func envFileMeshWarning() string {
	return "the init container " + wire.InitContainer + " requests the values before the proxy of the service mesh " +
		"starts; if the mesh redirects its traffic, exclude the auth service from that, or change the annotation " +
		wire.AnnotationDelivery + " to auto"
}

// mutateEnvFile changes a pod so that the kubelet sets the values: an init container writes them into a file for each
// container, and a second one ends with an error where the kubelet would start the containers without them.
func mutateEnvFile(out *corev1.Pod, plan Plan, s Settings) {
	spec, record, targets := &out.Spec, map[string]string{}, plan.targetsByName()
	wait := newReferenceCheck()
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if target := targets[containers[i].Name]; target != nil {
				wait.addWaitSettings(target.environment)
				readFromEnvFile(&containers[i], target.environment.knownReferences(), record)
			}
		}
	}
	spec.Volumes = append(spec.Volumes, TokenVolume(), corev1.Volume{Name: wire.VolumeEnvFiles,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}})
	writer := NewInitContainer(out, []string{ImageThinInjectorPath, "write-env-files", wire.MountEnvFiles}, s)
	writer.Env = wait.initContainerEnv(out, s, wire.EnvReferences, record)
	writer.VolumeMounts = []corev1.VolumeMount{{Name: wire.VolumeEnvFiles, MountPath: wire.MountEnvFiles}, TokenMount()}
	check := NewInitContainer(out, []string{ImageThinInjectorPath, "check-env-file"}, s)
	check.Name = wire.CheckContainer
	check.Env = []corev1.EnvVar{fromEnvFile(wire.EnvFileCheck, wire.CheckEnvFilePath)}
	spec.InitContainers = slices.Insert(spec.InitContainers, 0, writer, check)
}

// readFromEnvFile makes the kubelet read these variables of a container from its env file, and adds their references to
// the record. Variables of a ConfigMap or Secret come first, so that the container's own env can use them.
func readFromEnvFile(c *corev1.Container, references, record map[string]string) {
	file := c.Name + wire.SuffixEnvFile
	var added []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(references)) {
		record[c.Name+"/"+name] = references[name]
		at := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
		if at >= 0 {
			c.Env[at] = fromEnvFile(name, file)
		} else {
			added = append(added, fromEnvFile(name, file))
		}
	}
	c.Env = slices.Concat(added, c.Env)
}

// fromEnvFile is a variable that the kubelet reads from an env file.
func fromEnvFile(name, file string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FileKeyRef: &corev1.FileKeySelector{VolumeName: wire.VolumeEnvFiles, Path: file, Key: name}}}
}

// RestoreReferences puts the references back in place of the variables that an earlier mutation left to the kubelet, so
// that a pod that was exported can be created again, also with another delivery. It changes its argument.
func RestoreReferences(pod *corev1.Pod) {
	record := recordedEnvFiles(pod)
	if len(record) == 0 {
		return
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			for j, variable := range c.Env {
				from := variable.ValueFrom
				if from == nil || from.FileKeyRef == nil || from.FileKeyRef.VolumeName != wire.VolumeEnvFiles {
					continue
				}
				if reference, ok := record[c.Name+"/"+from.FileKeyRef.Key]; ok {
					c.Env[j] = corev1.EnvVar{Name: variable.Name, Value: envref.Escape(reference)}
				}
			}
		}
	}
}

// recordedEnvFiles are the references that an earlier mutation left to the init container, by container and variable.
func recordedEnvFiles(pod *corev1.Pod) map[string]string {
	record := map[string]string{}
	for _, c := range pod.Spec.InitContainers {
		if c.Name != wire.InitContainer || !isOwnInitContainer(c) {
			continue
		}
		for _, variable := range c.Env {
			if variable.Name == wire.EnvReferences {
				_ = json.Unmarshal([]byte(variable.Value), &record) // a malformed value counts as no record
			}
		}
	}
	return record
}

// isOwnInitContainer says whether the webhook added an init container: it mounts one of the webhook's volumes, or reads
// the env file of the check.
func isOwnInitContainer(c corev1.Container) bool {
	switch c.Name {
	case wire.InitContainer:
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == wire.VolumeInjector || m.Name == wire.VolumeEnvFiles
		})
	case wire.CheckContainer:
		return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == wire.EnvFileCheck })
	}
	return false
}

// IsReservedInitContainer says whether an init container has one of our names.
func IsReservedInitContainer(c corev1.Container) bool {
	return c.Name == wire.InitContainer || c.Name == wire.CheckContainer
}
