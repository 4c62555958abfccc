package inject

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
)

// Kinds of sources.
const (
	KindConfigMap = "ConfigMap"
	KindSecret    = "Secret"
)

// SourceName identifies a ConfigMap or Secret in the pod's namespace.
type SourceName struct{ Kind, Name string }

// Source is a ConfigMap or Secret that the environment of a container uses.
type Source struct {
	// Values has every key. A value that is not meant as a reference is replaced by an empty text.
	Values map[string]string
	// Mentions is the set of keys with a value that resembles a reference but is not one.
	Mentions map[string]bool
	// Missing says that the object does not exist.
	Missing bool
	// Forbidden says that the installation is not allowed to read the object.
	Forbidden bool
}

// Sources are the sources of a pod.
type Sources map[SourceName]Source

// NewSource returns the source with these data. It keeps the keys and the references, and drops all other values.
func NewSource[V string | []byte](data map[string]V) Source {
	s := Source{Values: make(map[string]string, len(data))}
	for key, value := range data {
		s.Values[key] = ""
		switch text := string(value); {
		case envref.IsIntendedReference(text):
			s.Values[key] = text
		case envref.NeedsWarning(text):
			if s.Mentions == nil {
				s.Mentions = map[string]bool{}
			}
			s.Mentions[key] = true
		}
	}
	return s
}

// NeededSources are the sources that the environment of the pod's containers uses, sorted and without duplicates. It is
// empty for a pod that the webhook ignores.
func NeededSources(pod *corev1.Pod) []SourceName {
	if IsExcluded(pod) {
		return nil
	}
	var names []SourceName
	for _, c := range allContainers(pod) {
		for _, from := range c.EnvFrom {
			if name, ok := sourceNameOf(from); ok {
				names = append(names, name)
			}
		}
		for _, variable := range c.Env {
			if name, _, ok := sourceKeyOf(variable.ValueFrom); ok {
				names = append(names, name)
			}
		}
	}
	slices.SortFunc(names, func(a, b SourceName) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(names)
}

// allContainers are all containers of the pod: init containers, containers and ephemeral containers.
func allContainers(pod *corev1.Pod) []corev1.Container {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	for _, e := range pod.Spec.EphemeralContainers {
		all = append(all, corev1.Container(e.EphemeralContainerCommon))
	}
	return all
}

// sourceNameOf is the source of an entry of envFrom; ok is false if it has none.
func sourceNameOf(from corev1.EnvFromSource) (SourceName, bool) {
	switch {
	case from.ConfigMapRef != nil:
		return SourceName{KindConfigMap, from.ConfigMapRef.Name}, true
	case from.SecretRef != nil:
		return SourceName{KindSecret, from.SecretRef.Name}, true
	}
	return SourceName{}, false
}

// sourceKeyOf is the source and the key of a valueFrom; ok is false for other kinds of valueFrom.
func sourceKeyOf(from *corev1.EnvVarSource) (name SourceName, key string, ok bool) {
	switch {
	case from == nil:
		return SourceName{}, "", false
	case from.ConfigMapKeyRef != nil:
		return SourceName{KindConfigMap, from.ConfigMapKeyRef.Name}, from.ConfigMapKeyRef.Key, true
	case from.SecretKeyRef != nil:
		return SourceName{KindSecret, from.SecretKeyRef.Name}, from.SecretKeyRef.Key, true
	}
	return SourceName{}, "", false
}
