package output

import corev1 "k8s.io/api/core/v1"

// podReferences returns the names of the objects of one kind in the places where a pod can refer to them; empty if the
// place has none.
type podReferences struct {
	inVariable   func(corev1.EnvVarSource) string
	inEnvFrom    func(corev1.EnvFromSource) string
	inVolume     func(corev1.VolumeSource) string
	inProjection func(corev1.VolumeProjection) string
}

// namesIn returns the names in all containers and volumes.
func (p podReferences) namesIn(pod corev1.PodSpec) []string {
	var names []string
	add := func(name string) {
		if name != "" {
			names = append(names, name)
		}
	}
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for _, container := range containers {
			for _, variable := range container.Env {
				if variable.ValueFrom != nil {
					add(p.inVariable(*variable.ValueFrom))
				}
			}
			for _, source := range container.EnvFrom {
				add(p.inEnvFrom(source))
			}
		}
	}
	for _, volume := range pod.Volumes {
		add(p.inVolume(volume.VolumeSource))
		if volume.Projected == nil {
			continue
		}
		for _, projection := range volume.Projected.Sources {
			add(p.inProjection(projection))
		}
	}
	return names
}
