package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// tokenSeconds is the lifetime of a token in seconds. The kubelet renews the token before it expires.
const tokenSeconds int64 = 3600

// readable is the file mode of the token: the program can run as any user.
const readable int32 = 0o644

// volumeNames are the names of the volumes that the webhook adds.
func volumeNames() []string { return []string{wire.VolumeBinary, wire.VolumeToken, wire.VolumeAPI} }

// binaryVolume is the memory volume for the injector.
func binaryVolume() corev1.Volume {
	return corev1.Volume{Name: wire.VolumeBinary,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}
}

// tokenVolume has the token with which the pod authenticates to the auth service.
func tokenVolume() corev1.Volume {
	seconds := tokenSeconds
	return projected(wire.VolumeToken,
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: wire.TokenAudience, ExpirationSeconds: &seconds, Path: wire.TokenFile}})
}

// apiVolume has the token, CA and namespace for requests to the API server, for pods with and without automounted
// tokens.
func apiVolume() corev1.Volume {
	seconds := tokenSeconds
	return projected(wire.VolumeAPI,
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

// projected is a projected volume whose files every user can read.
func projected(name string, sources ...corev1.VolumeProjection) corev1.Volume {
	mode := readable
	return corev1.Volume{Name: name,
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode,
			Sources: sources}}}
}
