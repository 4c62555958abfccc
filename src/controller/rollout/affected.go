package rollout

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/envref"
)

// isAffectedBy reports whether pods with this spec use a changed output, as variables or files, or have a reference to
// the resource.
func isAffectedBy(pod corev1.PodSpec, c Change) bool {
	containers := slices.Concat(pod.InitContainers, pod.Containers)
	return slices.ContainsFunc(containers, c.isUsedInEnv) || slices.ContainsFunc(pod.Volumes, c.isUsedInVolume)
}

func (c Change) isChangedSecret(name string) bool {
	return name != "" && c.Outputs[output.Secret] == name
}

func (c Change) isChangedConfigMap(name string) bool {
	return name != "" && c.Outputs[output.ConfigMap] == name
}

func (c Change) isUsedInEnv(container corev1.Container) bool {
	inVariable := func(v corev1.EnvVar) bool {
		if v.ValueFrom == nil {
			ref, err := envref.Parse(v.Value)
			return err == nil && ref.Name == c.Resource
		}
		secret, configMap := v.ValueFrom.SecretKeyRef, v.ValueFrom.ConfigMapKeyRef
		return (secret != nil && c.isChangedSecret(secret.Name)) ||
			(configMap != nil && c.isChangedConfigMap(configMap.Name))
	}
	inSource := func(s corev1.EnvFromSource) bool {
		return (s.SecretRef != nil && c.isChangedSecret(s.SecretRef.Name)) ||
			(s.ConfigMapRef != nil && c.isChangedConfigMap(s.ConfigMapRef.Name))
	}
	return slices.ContainsFunc(container.Env, inVariable) || slices.ContainsFunc(container.EnvFrom, inSource)
}

func (c Change) isUsedInVolume(v corev1.Volume) bool {
	switch {
	case v.Secret != nil:
		return c.isChangedSecret(v.Secret.SecretName)
	case v.ConfigMap != nil:
		return c.isChangedConfigMap(v.ConfigMap.Name)
	case v.Projected == nil:
		return false
	}
	return slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool {
		return (p.Secret != nil && c.isChangedSecret(p.Secret.Name)) ||
			(p.ConfigMap != nil && c.isChangedConfigMap(p.ConfigMap.Name))
	})
}
