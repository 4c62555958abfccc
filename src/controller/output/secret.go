package output

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// Secret is the kind of output that can hold private keys.
const Secret = secretKind(recipe.OutputSecret)

type secretKind string

// String implements Kind.
func (k secretKind) String() string { return string(k) }

// APIVersion implements Kind.
func (secretKind) APIVersion() string { return "v1" }

// NewObject implements Kind.
func (secretKind) NewObject() Object { return &corev1.Secret{} }

// LiveFrom implements Kind.
func (secretKind) LiveFrom(object Object) Live { return LiveFromSecret(object.(*corev1.Secret)) }

// LiveFromSecret converts a Secret.
func LiveFromSecret(s *corev1.Secret) Live {
	return Live{ObjectMeta: s.ObjectMeta, Kind: Secret, Type: s.Type, Immutable: s.Immutable != nil && *s.Immutable,
		Data: s.Data}
}

// StatusFields implements Kind.
func (secretKind) StatusFields(status *v2beta1.AzureKeyVaultSecretStatus) StatusFields {
	return StatusFields{Name: &status.SecretName, Hash: &status.SecretHash}
}

// NameInSpec implements Kind.
func (secretKind) NameInSpec(spec *v2beta1.AzureKeyVaultOutput) string {
	if spec.Secret == nil {
		return ""
	}
	return spec.Secret.Name
}

// NamesUsedBy implements Kind.
func (secretKind) NamesUsedBy(pod corev1.PodSpec) []string {
	return podReferences{
		inVariable: func(v corev1.EnvVarSource) string {
			if v.SecretKeyRef == nil {
				return ""
			}
			return v.SecretKeyRef.Name
		},
		inEnvFrom: func(s corev1.EnvFromSource) string {
			if s.SecretRef == nil {
				return ""
			}
			return s.SecretRef.Name
		},
		inVolume: func(v corev1.VolumeSource) string {
			if v.Secret == nil {
				return ""
			}
			return v.Secret.SecretName
		},
		inProjection: func(p corev1.VolumeProjection) string {
			if p.Secret == nil {
				return ""
			}
			return p.Secret.Name
		},
	}.namesIn(pod)
}

func (secretKind) addFields(d *Desired, out recipe.Output) {
	d.Type, d.Immutable = corev1.SecretType(out.Type), out.Immutable
	if out.Type == "" {
		d.Type = corev1.SecretTypeOpaque
	}
	maps.Copy(d.Labels, withoutTrackingKeys(out.Labels))
	maps.Copy(d.Annotations, withoutTrackingKeys(out.Annotations))
}

func (secretKind) newApplyConfig(d Desired) ApplyConfig {
	secret := corev1ac.Secret(d.Name, d.Owner.Namespace)
	if d.Type != "" { // a configuration without fields has no type
		secret.WithType(d.Type).WithData(d.Data)
	}
	if d.Immutable {
		secret.WithImmutable(true)
	}
	return ApplyConfig{Body: secret,
		objectMeta: func() *metav1ac.ObjectMetaApplyConfiguration { return secret.ObjectMetaApplyConfiguration }}
}
