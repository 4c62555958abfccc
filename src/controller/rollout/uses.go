package rollout

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/envref"
)

// uses reports whether pods with this spec use a changed output, as variables or files, or have a reference to the
// resource.
func uses(pod corev1.PodSpec, c Change) bool {
	containers := slices.Concat(pod.InitContainers, pod.Containers)
	return slices.ContainsFunc(containers, c.inEnvironment) || slices.ContainsFunc(pod.Volumes, c.inVolume)
}

func (c Change) secret(name string) bool { return name != "" && c.Outputs[output.Secret] == name }

func (c Change) configMap(name string) bool { return name != "" && c.Outputs[output.ConfigMap] == name }

func (c Change) inEnvironment(container corev1.Container) bool {
	inVariable := func(v corev1.EnvVar) bool {
		if v.ValueFrom == nil {
			ref, err := envref.Parse(v.Value)
			return err == nil && ref.Name == c.Resource
		}
		secret, configMap := v.ValueFrom.SecretKeyRef, v.ValueFrom.ConfigMapKeyRef
		return (secret != nil && c.secret(secret.Name)) || (configMap != nil && c.configMap(configMap.Name))
	}
	inSource := func(s corev1.EnvFromSource) bool {
		return (s.SecretRef != nil && c.secret(s.SecretRef.Name)) ||
			(s.ConfigMapRef != nil && c.configMap(s.ConfigMapRef.Name))
	}
	return slices.ContainsFunc(container.Env, inVariable) || slices.ContainsFunc(container.EnvFrom, inSource)
}

func (c Change) inVolume(v corev1.Volume) bool {
	switch {
	case v.Secret != nil:
		return c.secret(v.Secret.SecretName)
	case v.ConfigMap != nil:
		return c.configMap(v.ConfigMap.Name)
	case v.Projected == nil:
		return false
	}
	return slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool {
		return (p.Secret != nil && c.secret(p.Secret.Name)) || (p.ConfigMap != nil && c.configMap(p.ConfigMap.Name))
	})
}
