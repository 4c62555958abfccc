package rollout

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
)

// isAffectedBy reports whether pods with this spec use a changed output, as variables or files, or have a reference to
// the resource.
func isAffectedBy(pod corev1.PodSpec, c Change) bool {
	for kind, name := range c.Outputs {
		if name != "" && slices.Contains(kind.NamesUsedBy(pod), name) {
			return true
		}
	}
	return slices.ContainsFunc(slices.Concat(pod.InitContainers, pod.Containers), c.isReferencedBy)
}

// isReferencedBy reports whether a variable of the container is a reference to the resource.
func (c Change) isReferencedBy(container corev1.Container) bool {
	return slices.ContainsFunc(container.Env, func(v corev1.EnvVar) bool {
		if v.ValueFrom != nil {
			return false
		}
		ref, err := envref.Parse(v.Value)
		return err == nil && ref.Name == c.Resource
	})
}
