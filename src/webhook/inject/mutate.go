package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Settings are what the installation puts into every pod.
type Settings struct {
	// Image of the injector, and its pull policy.
	Image      string
	PullPolicy corev1.PullPolicy
	// CA is the broker's root certificate, PEM.
	CA string
	// Broker is host:port of its Service by DNS name, BrokerAddress by ClusterIP; the latter may be empty.
	Broker, BrokerAddress string
	// Direct makes every container read vaults for itself; otherwise those do that ask for it.
	Direct bool
	// Cloud, ExtraCAs and AuthType are what such containers need to know of the installation: its cloud (cloud.Setting), certificate
	// authorities besides the public ones (PEM), and how they authenticate unless they say it. Each may be empty.
	Cloud, ExtraCAs, AuthType string
	// LogLevel and LogFormat are what the injector logs with unless the container says otherwise; may be empty.
	LogLevel, LogFormat string
}

// program is the injector's path in its own image.
const program = "/usr/local/bin/azure-keyvault-env"

// nobody is the user of the init container unless the pod has one of its own.
const nobody int64 = 65532

// tokenSeconds is how long a token lives; the kubelet renews it long before.
const tokenSeconds int64 = 3600

// readable is the mode of the token: the program may run as any user.
const readable int32 = 0o644

// Mutate gives the pod as the plan wants it, and leaves the one it was given alone. Of a pod that was mutated before, what was added
// then is replaced.
func Mutate(pod *corev1.Pod, plan Plan, s Settings) *corev1.Pod {
	out := pod.DeepCopy()
	if plan.Empty() {
		return out
	}
	spec := &out.Spec
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, func(c corev1.Container) bool { return c.Name == wire.InitContainer })
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool { return slices.Contains(volumeNames(), v.Name) })
	spec.Volumes = append(spec.Volumes, binaryVolume())
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if !slices.Contains(plan.Containers, containers[i].Name) {
				continue
			}
			volume := tokenVolume()
			if s.direct(containers[i]) {
				volume = apiVolume()
			}
			wrap(&containers[i], s, volume.Name)
			if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
				spec.Volumes = append(spec.Volumes, volume)
			}
		}
	}
	spec.InitContainers = slices.Insert(spec.InitContainers, 0, initContainer(pod, s))
	return out
}

// direct says whether the container reads for itself.
func (s Settings) direct(c corev1.Container) bool {
	return s.Direct || slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == wire.EnvDisable && v.Value == "true" })
}

// volumeNames are ours.
func volumeNames() []string { return []string{wire.VolumeBinary, wire.VolumeToken, wire.VolumeAPI} }

func binaryVolume() corev1.Volume {
	return corev1.Volume{Name: wire.VolumeBinary, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}
}

// tokenVolume has what proves to the auth service which pod it is.
func tokenVolume() corev1.Volume {
	seconds := tokenSeconds
	return projected(wire.VolumeToken, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: wire.TokenAudience, ExpirationSeconds: &seconds, Path: wire.TokenFile}})
}

// apiVolume has what the pod needs to ask the API server: the same as in other pods, whether its own is mounted automatically or not.
func apiVolume() corev1.Volume {
	seconds := tokenSeconds
	return projected(wire.VolumeAPI,
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &seconds, Path: wire.TokenFile}},
		corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
			Items: []corev1.KeyToPath{{Key: "ca.crt", Path: wire.CAFile}}}},
		corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: wire.NamespaceFile,
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}})
}

func projected(name string, sources ...corev1.VolumeProjection) corev1.Volume {
	mode := readable
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode, Sources: sources}}}
}

// wrap puts the injector in front of the container's program, with the volume that it proves itself by.
func wrap(c *corev1.Container, s Settings, volume string) {
	if !wrapped(*c) {
		c.Args = slices.Concat(c.Command, c.Args)
		c.Command = []string{wire.InjectorPath}
	}
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return slices.Contains(volumeNames(), m.Name) })
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: wire.VolumeBinary, MountPath: wire.MountBinary, ReadOnly: true},
		corev1.VolumeMount{Name: volume, MountPath: wire.MountToken, ReadOnly: true})
	c.Env = environment(c.Env, variables(*c, s))
}

// variables are what the injector needs to know.
func variables(c corev1.Container, s Settings) []corev1.EnvVar {
	if s.direct(c) {
		return []corev1.EnvVar{{Name: wire.EnvUseAuthService, Value: "false"}, {Name: wire.EnvCloud, Value: s.Cloud}, {Name: wire.EnvExtraCAs, Value: s.ExtraCAs},
			{Name: wire.EnvAuthType, Value: s.AuthType}, {Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat}}
	}
	return []corev1.EnvVar{{Name: wire.EnvCA, Value: s.CA}, {Name: wire.EnvBroker, Value: s.Broker}, {Name: wire.EnvBrokerAddress, Value: s.BrokerAddress},
		{Name: wire.EnvLogLevel, Value: s.LogLevel}, {Name: wire.EnvLogFormat, Value: s.LogFormat}}
}

// ours are the variables that only the webhook may set.
func ours() []string {
	return []string{wire.EnvCA, wire.EnvBroker, wire.EnvBrokerAddress, wire.EnvAdded, wire.EnvUseAuthService, wire.EnvCloud, wire.EnvExtraCAs}
}

// chosen are the variables that a container may set too, and then its own stay.
func chosen() []string { return []string{wire.EnvAuthType, wire.EnvLogLevel, wire.EnvLogFormat} }

// environment adds what has a value and was not chosen by the container, and the list of what was added.
func environment(env, add []corev1.EnvVar) []corev1.EnvVar {
	before := added(env)
	env = slices.DeleteFunc(env, func(v corev1.EnvVar) bool { return slices.Contains(before, v.Name) })
	names := []string{}
	own := slices.Clone(env)
	for _, variable := range add {
		if variable.Value == "" || slices.ContainsFunc(own, func(v corev1.EnvVar) bool { return v.Name == variable.Name }) {
			continue
		}
		env = append(env, variable)
		names = append(names, variable.Name)
	}
	names = append(names, wire.EnvAdded)
	return append(env, corev1.EnvVar{Name: wire.EnvAdded, Value: strings.Join(names, ",")})
}

// added are the variables that an earlier mutation added: what its own list says as far as such names are ours to add.
func added(env []corev1.EnvVar) []string {
	names := ours()
	for _, variable := range env {
		if variable.Name != wire.EnvAdded {
			continue
		}
		for name := range strings.SplitSeq(variable.Value, ",") {
			if slices.Contains(chosen(), name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// initContainer brings the injector into the pod. It passes the restricted standard in every pod.
func initContainer(pod *corev1.Pod, s Settings) corev1.Container {
	user := sharedUser(pod)
	yes, no := true, false
	return corev1.Container{
		Name: wire.InitContainer, Image: s.Image, ImagePullPolicy: s.PullPolicy,
		Command:      []string{program, "copy", wire.MountBinary},
		VolumeMounts: []corev1.VolumeMount{{Name: wire.VolumeBinary, MountPath: wire.MountBinary}},
		Resources:    resources(pod),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: &user, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no, Privileged: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// resources are little to ask for and enough to copy fast; quotas want limits. A pod whose containers ask for exactly their limits is in the
// class Guaranteed, and stays there.
func resources(pod *corev1.Pod) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
		// The volume is memory, and the copy counts as this container's.
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
	var cpu resource.Quantity
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name != wire.InitContainer && !guaranteed(c) {
			return r
		}
	}
	for _, c := range pod.Spec.Containers {
		cpu.Add(*c.Resources.Limits.Cpu())
	}
	// Not more than the pod has anyway, or it would need a larger place.
	if cpu.Cmp(*r.Limits.Cpu()) < 0 {
		r.Limits[corev1.ResourceCPU] = cpu
	}
	r.Requests = r.Limits.DeepCopy()
	return r
}

// guaranteed says whether a container asks for exactly its limits; what is not asked for is taken from the limit.
func guaranteed(c corev1.Container) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit, limited := c.Resources.Limits[name]
		request, requested := c.Resources.Requests[name]
		if !limited || limit.IsZero() || (requested && request.Cmp(limit) != 0) {
			return false
		}
	}
	return true
}

// sharedUser is the user that all containers share if it is one and not root: the cluster may allow no other.
func sharedUser(pod *corev1.Pod) int64 {
	var shared int64
	for i, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == wire.InitContainer {
			continue
		}
		user := userOf(pod, c)
		if user == 0 || (i > 0 && shared != 0 && user != shared) {
			return nobody
		}
		shared = user
	}
	if shared == 0 {
		return nobody
	}
	return shared
}

// userOf is 0 if the user is root or not known.
func userOf(pod *corev1.Pod, c corev1.Container) int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return *c.SecurityContext.RunAsUser
	}
	if pod.Spec.SecurityContext != nil && pod.Spec.SecurityContext.RunAsUser != nil {
		return *pod.Spec.SecurityContext.RunAsUser
	}
	return 0
}
