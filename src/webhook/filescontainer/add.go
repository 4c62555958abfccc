package filescontainer

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const (
	// probePeriodSeconds is short, so that the containers start within a second after their files are written.
	probePeriodSeconds = 1
	// probeTimeoutSeconds is the timeout of one probe, in seconds.
	probeTimeoutSeconds = 5
	// probeTimeReserve is the time for the attempts themselves, in addition to the waits between them.
	probeTimeReserve = 2 * time.Minute
)

// volumeBytes limits the volume: all files twice, and a page for each of them.
const volumeBytes = 2*limits.FilesBytes + 2*limits.FilesInAnswer*4096

// Add adds the files container, its volumes and the mounts to a pod without them. It leaves its argument unchanged.
func Add(pod *corev1.Pod, p Plan, s inject.Settings) *corev1.Pod {
	out := pod.DeepCopy()
	if p.IsEmpty() {
		return out
	}
	spec := &out.Spec
	added := p.newContainers(out, s)
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			for _, mount := range p.files.Mounts[containers[i].Name] {
				containers[i].VolumeMounts = append(containers[i].VolumeMounts, corev1.VolumeMount{
					Name: wire.VolumeFiles, MountPath: mount.Path, SubPath: mount.Directory, ReadOnly: true})
			}
		}
	}
	credential := inject.TokenVolume()
	if p.isDirect {
		credential = inject.APIAccessVolume()
	}
	if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == credential.Name }) {
		spec.Volumes = append(spec.Volumes, credential)
	}
	spec.Volumes = append(spec.Volumes, newVolume())
	// Behind the other containers of the env-injector, and in front of those of the pod, which can need the files.
	at := 0
	for at < len(spec.InitContainers) && inject.IsReservedInitContainer(spec.InitContainers[at]) {
		at++
	}
	spec.InitContainers = slices.Insert(spec.InitContainers, at, added...)
	return out
}

// newVolume is the volume in memory that holds the files.
func newVolume() corev1.Volume {
	return corev1.Volume{Name: wire.VolumeFiles, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory,
			SizeLimit: resource.NewQuantity(volumeBytes, resource.BinarySI)}}}
}

// newContainers are the containers that write the files: a sidecar, or an init container if they are written once. In a
// pod whose containers are not restarted it is both, because a sidecar is always restarted, and such a pod has to fail.
func (p Plan) newContainers(pod *corev1.Pod, s inject.Settings) []corev1.Container {
	neverRestarted := pod.Spec.RestartPolicy == corev1.RestartPolicyNever
	wait := limits.WaitBeforeStart
	if neverRestarted {
		wait = limits.WaitWithoutRestart
	}
	var containers []corev1.Container
	if p.once || neverRestarted {
		c := p.newContainer(pod, s, "write-files", wait)
		c.Name = wire.FilesInitContainer
		containers = append(containers, c)
	}
	if p.once {
		return containers
	}
	c := p.newContainer(pod, s, "sync-files", wait)
	always := corev1.ContainerRestartPolicyAlways
	c.RestartPolicy = &always
	if !neverRestarted {
		c.StartupProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
				Command: []string{c.Command[0], "check-files", wire.MountFiles}}},
			PeriodSeconds: probePeriodSeconds, TimeoutSeconds: probeTimeoutSeconds,
			FailureThreshold: int32((wait + probeTimeReserve) / time.Second / probePeriodSeconds),
		}
	}
	return append(containers, c)
}

// newContainer is a container that runs a command of the image with the injectors on the volume of files.
func (p Plan) newContainer(pod *corev1.Pod, s inject.Settings, command string, wait time.Duration) corev1.Container {
	s.Direct = p.isDirect
	program, credential := inject.ImageThinInjectorPath, inject.TokenVolume()
	if p.isDirect {
		program, credential = inject.ImageInjectorPath, inject.APIAccessVolume()
	}
	c := inject.NewInitContainer(pod, []string{program, command, wire.MountFiles}, s)
	c.Name = wire.FilesContainer
	c.VolumeMounts = []corev1.VolumeMount{{Name: wire.VolumeFiles, MountPath: wire.MountFiles},
		{Name: credential.Name, MountPath: wire.MountToken, ReadOnly: true}}
	env := append(inject.InjectorEnv(corev1.Container{}, s),
		corev1.EnvVar{Name: wire.EnvDefaultTimeout, Value: wait.String()},
		corev1.EnvVar{Name: wire.EnvFiles, Value: p.record})
	if p.isDirect {
		for _, other := range containersOf(pod) {
			if other.Name == p.credentials {
				c.VolumeMounts = append(c.VolumeMounts, credentialMounts(other)...)
				env, c.EnvFrom = withOwn(env, credentialEnv(other)), other.EnvFrom
			}
		}
	}
	c.Env = slices.DeleteFunc(env, func(v corev1.EnvVar) bool { return v.Value == "" && v.ValueFrom == nil })
	return c
}

// withOwn returns the variables, and those of a container in place of others of the same name.
func withOwn(env, own []corev1.EnvVar) []corev1.EnvVar {
	return append(slices.DeleteFunc(env, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(own, func(o corev1.EnvVar) bool { return o.Name == v.Name })
	}), own...)
}

// Remove removes from a pod what an earlier Add has added, but for the volume with the token, which variables need too.
func Remove(pod *corev1.Pod) {
	spec := &pod.Spec
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, isOwnContainer)
	isOurs := func(v corev1.Volume) bool {
		return v.Name == wire.VolumeFiles && v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory
	}
	if !slices.ContainsFunc(spec.Volumes, isOurs) {
		return
	}
	spec.Volumes = slices.DeleteFunc(spec.Volumes, isOurs)
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			containers[i].VolumeMounts = slices.DeleteFunc(containers[i].VolumeMounts,
				func(m corev1.VolumeMount) bool { return m.Name == wire.VolumeFiles })
		}
	}
}

// isReservedContainer says whether a container has one of our names.
func isReservedContainer(name string) bool {
	return name == wire.FilesContainer || name == wire.FilesInitContainer
}

// isOwnContainer says whether an earlier Add has added a container.
func isOwnContainer(c corev1.Container) bool {
	return isReservedContainer(c.Name) &&
		slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == wire.EnvFiles }) &&
		slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == wire.VolumeFiles })
}
