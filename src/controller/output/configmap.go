package output

import (
	"maps"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// ConfigMap is the kind of output for public values.
const ConfigMap = configMapKind(recipe.OutputConfigMap)

type configMapKind string

// String implements Kind.
func (k configMapKind) String() string { return string(k) }

// APIVersion implements Kind.
func (configMapKind) APIVersion() string { return "v1" }

// NewObject implements Kind.
func (configMapKind) NewObject() Object { return &corev1.ConfigMap{} }

// LiveFrom implements Kind.
func (configMapKind) LiveFrom(object Object) Live {
	return LiveFromConfigMap(object.(*corev1.ConfigMap))
}

// LiveFromConfigMap converts a ConfigMap.
func LiveFromConfigMap(m *corev1.ConfigMap) Live {
	live := Live{ObjectMeta: m.ObjectMeta, Kind: ConfigMap, Immutable: m.Immutable != nil && *m.Immutable,
		Data: maps.Clone(m.BinaryData)}
	if live.Data == nil {
		live.Data = map[string][]byte{}
	}
	for key, value := range m.Data {
		live.Data[key] = []byte(value)
	}
	return live
}

// StatusFields implements Kind.
func (configMapKind) StatusFields(status *v2beta1.AzureKeyVaultSecretStatus) StatusFields {
	return StatusFields{Name: &status.ConfigMapName, Hash: &status.ConfigMapHash}
}

// NameInSpec implements Kind.
func (configMapKind) NameInSpec(spec *v2beta1.AzureKeyVaultOutput) string {
	if spec.ConfigMap == nil {
		return ""
	}
	return spec.ConfigMap.Name
}

// NamesUsedBy implements Kind.
func (configMapKind) NamesUsedBy(pod corev1.PodSpec) []string {
	return podReferences{
		inVariable: func(v corev1.EnvVarSource) string {
			if v.ConfigMapKeyRef == nil {
				return ""
			}
			return v.ConfigMapKeyRef.Name
		},
		inEnvFrom: func(s corev1.EnvFromSource) string {
			if s.ConfigMapRef == nil {
				return ""
			}
			return s.ConfigMapRef.Name
		},
		inVolume: func(v corev1.VolumeSource) string {
			if v.ConfigMap == nil {
				return ""
			}
			return v.ConfigMap.Name
		},
		inProjection: func(p corev1.VolumeProjection) string {
			if p.ConfigMap == nil {
				return ""
			}
			return p.ConfigMap.Name
		},
	}.namesIn(pod)
}

func (configMapKind) addFields(*Desired, recipe.Output) {}

func (configMapKind) newApplyConfig(d Desired) ApplyConfig {
	configMap := corev1ac.ConfigMap(d.Name, d.Owner.Namespace)
	for key, value := range d.Data {
		if utf8.Valid(value) {
			configMap.WithData(map[string]string{key: string(value)})
		} else {
			configMap.WithBinaryData(map[string][]byte{key: value})
		}
	}
	return ApplyConfig{Body: configMap,
		objectMeta: func() *metav1ac.ObjectMetaApplyConfiguration { return configMap.ObjectMetaApplyConfiguration }}
}
