package injected

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Delivery is how a container gets values.
type Delivery string

// The deliveries.
const (
	// None means that the container is not injected.
	None Delivery = ""
	// ByInjector means that the injector starts the program of the container.
	ByInjector Delivery = "injector"
	// ByEnvFile means that the kubelet sets variables, from a file that an init container wrote.
	ByEnvFile Delivery = wire.DeliveryEnvFile
)

// DeliveryOf returns how a container gets values.
func DeliveryOf(c corev1.Container) Delivery {
	switch {
	case len(c.Command) == 1 && c.Command[0] == wire.InjectorPath:
		return ByInjector
	case slices.ContainsFunc(c.Env, isFromEnvFile):
		return ByEnvFile
	}
	return None
}

func isFromEnvFile(v corev1.EnvVar) bool {
	return v.ValueFrom != nil && v.ValueFrom.FileKeyRef != nil &&
		v.ValueFrom.FileKeyRef.VolumeName == wire.VolumeEnvFiles
}

// Containers returns the containers of a pod, without those that the webhook added: init containers, containers, and
// ephemeral containers.
func Containers(pod *corev1.Pod) []corev1.Container {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	for _, c := range pod.Spec.EphemeralContainers {
		all = append(all, corev1.Container(c.EphemeralContainerCommon))
	}
	return slices.DeleteFunc(all, IsAdded)
}

// IsAdded reports whether the webhook added a container. A pod with a container of its own under these names is
// denied.
func IsAdded(c corev1.Container) bool {
	return slices.Contains([]string{wire.InitContainer, wire.CheckContainer, wire.FilesContainer,
		wire.FilesInitContainer}, c.Name)
}

// IsByV1 reports whether akv2k8s 1.8 injected a container.
func IsByV1(c corev1.Container) bool {
	return DeliveryOf(c) == ByInjector && !slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool {
		return v.Name == wire.EnvAddedVariables
	})
}

// UsesOwnCredentials reports whether an injected container reads vaults with the pod's own credentials.
func UsesOwnCredentials(c corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool {
		return v.Name == wire.EnvUseAuthService && v.Value == "false"
	})
}

// AllowsUnrecorded reports whether a ConfigMap or Secret of an injected container was missing when the pod was created,
// so that it can have references that the pod does not show.
func AllowsUnrecorded(c corev1.Container) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool {
		return v.Name == wire.EnvAllowUnrecorded && v.Value == "true"
	})
}

// Origin is where a reference stands.
type Origin string

// The origins.
const (
	// OwnEnv is the container's own env.
	OwnEnv Origin = "env"
	// Recorded is a ConfigMap, Secret or field of the pod, as of the time when the pod was created.
	Recorded Origin = "recorded"
	// Image is the environment of the image.
	Image Origin = "image"
)

// Reference is a variable whose value is a reference.
type Reference struct {
	envref.Reference
	Origin Origin
}

// References returns the references of a container by variable: literal ones, and those that the webhook recorded when
// the pod was created. Values that are not references are ignored. A variable of a ConfigMap or Secret is missing if a
// variable of env has the same reference, because the webhook does not record it.
func References(pod *corev1.Pod, c corev1.Container) map[string]Reference {
	all := map[string]Reference{}
	add := func(variable, text string, origin Origin) {
		if parsed, err := envref.Parse(text); err == nil {
			all[variable] = Reference{parsed, origin}
		}
	}
	delivery := DeliveryOf(c)
	for variable, text := range record(c, wire.EnvImageReferences) {
		add(variable, text, Image)
	}
	for _, variable := range c.Env {
		if variable.ValueFrom == nil {
			add(variable.Name, variable.Value, OwnEnv)
		}
	}
	if delivery == ByInjector {
		for variable, text := range record(c, wire.EnvReferences) {
			add(variable, text, Recorded)
		}
	}
	for _, writer := range pod.Spec.InitContainers {
		if delivery != ByEnvFile || writer.Name != wire.InitContainer {
			continue
		}
		for name, text := range record(writer, wire.EnvReferences) {
			if variable, ok := strings.CutPrefix(name, c.Name+"/"); ok {
				add(variable, text, Recorded)
			}
		}
	}
	return all
}

// record returns the references that the webhook recorded in a variable; none if it can't be parsed.
func record(c corev1.Container, name string) map[string]string {
	var all map[string]string
	for _, variable := range c.Env {
		if variable.Name == name && variable.ValueFrom == nil && json.Unmarshal([]byte(variable.Value), &all) != nil {
			return nil
		}
	}
	return all
}
