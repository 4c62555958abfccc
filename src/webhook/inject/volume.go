package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// tokenLifetimeSeconds is the lifetime of a token in seconds. The kubelet renews the token before it expires.
const tokenLifetimeSeconds int64 = 3600

// tokenFileMode is the file mode of the token: the program can run as any user.
const tokenFileMode int32 = 0o644

// injectedVolumeNames are the names of the volumes that the webhook adds.
func injectedVolumeNames() []string {
	return []string{wire.VolumeInjector, wire.VolumeToken, wire.VolumeAPIAccess, wire.VolumeEnvFiles}
}

// injectorVolume is the volume with the injector: its image, or a memory volume into which the init container copies
// the injector.
func injectorVolume(s Settings) corev1.Volume {
	if s.ImageVolume {
		return corev1.Volume{Name: wire.VolumeInjector, VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: s.Image, PullPolicy: s.PullPolicy}}}
	}
	return corev1.Volume{Name: wire.VolumeInjector,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}
}

// TokenVolume has the token with which the pod authenticates to the auth service.
func TokenVolume() corev1.Volume {
	seconds := tokenLifetimeSeconds
	return projectedVolume(wire.VolumeToken,
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: wire.TokenAudience, ExpirationSeconds: &seconds, Path: wire.TokenFile}})
}

// TokenMount is the mount of a volume with a token.
func TokenMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: wire.VolumeToken, MountPath: wire.MountToken, ReadOnly: true}
}

// APIAccessVolume has the token, CA and namespace for requests to the API server, for pods with and without automounted
// tokens.
func APIAccessVolume() corev1.Volume {
	seconds := tokenLifetimeSeconds
	return projectedVolume(wire.VolumeAPIAccess,
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &seconds,
			Path: wire.TokenFile}},
		corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
			Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: wire.CAFile}},
		}},
		corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
			Path:     wire.NamespaceFile,
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
		}}}})
}

// projectedVolume is a projected volume whose files every user can read.
func projectedVolume(name string, sources ...corev1.VolumeProjection) corev1.Volume {
	mode := tokenFileMode
	return corev1.Volume{Name: name,
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode,
			Sources: sources}}}
}
