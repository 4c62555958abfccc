package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/webhook/execcommand"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Settings are the settings of the installation for injected pods.
type Settings struct {
	// Image is the image with the injectors.
	Image string
	// PullPolicy is the pull policy of that image.
	PullPolicy corev1.PullPolicy
	// CA is the broker's root certificate, PEM.
	CA string
	// Broker is host:port of the broker's Service by DNS name, BrokerAddress by ClusterIP; the latter can be empty.
	Broker, BrokerAddress string
	// Direct says that every container reads vaults with its own credentials. Otherwise only the containers do that
	// switch the auth service off.
	Direct bool
	// Cloud, ExtraCAs and AuthType are settings for containers that read vaults themselves: the cloud (the text of a
	// cloud.Setting), additional certificate authorities (PEM), and the default authentication method. Each can be
	// empty.
	Cloud, ExtraCAs, AuthType string
	// LogLevel and LogFormat are the defaults for the injector's log; each can be empty.
	LogLevel, LogFormat string
	// ImageVolume says that the injector is in an image volume, so that the pod needs no init container.
	ImageVolume bool
	// InjectProbes says that exec probes and hooks get values. The annotation wire.AnnotationInjectProbes overrides it.
	InjectProbes bool
	// InitContainer has the settings for the init container.
	InitContainer initcontainer.Settings
	// LimitRanges are the LimitRanges of the pod's namespace.
	LimitRanges []corev1.LimitRangeItem
}

// Mutate returns the injected pod, and leaves its argument unchanged. In a pod that was mutated before it replaces the
// earlier additions. The entrypoint and command of every image in the plan must be set.
func Mutate(pod *corev1.Pod, plan Plan, s Settings) *corev1.Pod {
	out := pod.DeepCopy()
	if plan.IsEmpty() {
		return out
	}
	removeAdded(&out.Spec)
	if UsesEnvFile(pod) {
		mutateEnvFile(out, plan, s)
	} else {
		mutateCommands(pod, out, plan, s)
	}
	return out
}

// mutateCommands changes a pod so that the injector starts the programs of the plan's containers.
func mutateCommands(pod, out *corev1.Pod, plan Plan, s Settings) {
	spec := &out.Spec
	spec.Volumes = append(spec.Volumes, injectorVolume(s))
	// Only the init container checks references before the containers start.
	injector, found, checks := ImageThinInjectorPath, newReferenceCheck(), !s.ImageVolume && !HasMeshProxy(pod)
	targets, volumes := plan.targetsByName(), map[string]bool{}
	for kind, containers := range [][]corev1.Container{initContainersIndex: spec.InitContainers,
		containersIndex: spec.Containers} {
		for i := range containers {
			c := &containers[i]
			target := targets[c.Name]
			if target == nil {
				continue
			}
			if s.IsDirect(*c) {
				injector = ImageInjectorPath
			}
			volume := s.credentialVolume(*c)
			checked := checks && s.isCheckable(*c, target.environment) &&
				found.addContainer(c.Name, target.environment)
			wrapContainer(c, target, s, configureWaiting(c, target, roleOf(pod, *c, kind == initContainersIndex),
				checked))
			if s.InjectsProbes(pod) {
				execcommand.Wrap(c)
			}
			if !volumes[volume.Name] {
				spec.Volumes, volumes[volume.Name] = append(spec.Volumes, volume), true
			}
		}
	}
	if !s.ImageVolume {
		spec.InitContainers = slices.Insert(spec.InitContainers, 0, newCopyContainer(pod, injector, found, s))
	}
}

// removeAdded removes the init containers and volumes of an earlier mutation.
func removeAdded(spec *corev1.PodSpec) {
	spec.InitContainers = slices.DeleteFunc(spec.InitContainers, IsReservedInitContainer)
	spec.Volumes = slices.DeleteFunc(spec.Volumes,
		func(v corev1.Volume) bool { return slices.Contains(injectedVolumeNames(), v.Name) })
}

// Indexes of the container lists of a pod, in the order in which the containers start.
const (
	initContainersIndex = iota
	containersIndex
)

// MutateEphemeral wraps the plan's ephemeral containers and changes nothing else.
func MutateEphemeral(pod *corev1.Pod, plan Plan, s Settings) *corev1.Pod {
	out := pod.DeepCopy()
	targets := plan.targetsByName()
	for i := range out.Spec.EphemeralContainers {
		common := &out.Spec.EphemeralContainers[i].EphemeralContainerCommon
		if target := targets[common.Name]; target != nil {
			wrapContainer((*corev1.Container)(common), target, s, nil)
		}
	}
	return out
}

// IsDirect says whether the container reads vaults with its own credentials.
func (s Settings) IsDirect(c corev1.Container) bool { return s.Direct || isAuthServiceDisabled(c) }

// credentialVolume is the volume with the token that the container authenticates with.
func (s Settings) credentialVolume(c corev1.Container) corev1.Volume {
	if s.IsDirect(c) {
		return APIAccessVolume()
	}
	return TokenVolume()
}

// wrapContainer makes the injector the command of the container and the original command its arguments. wait are the
// variables for the time that the injector waits.
func wrapContainer(c *corev1.Container, target *Target, s Settings, wait []corev1.EnvVar) {
	expansion := wire.Expansion{Variables: target.environment.expandNames, ArgIndexes: priorExpansion(*c).ArgIndexes}
	for i, text := range target.environment.rewrittenTexts {
		c.Env[i].Value = text
	}
	if !isWrapped(*c) {
		c.Args, expansion.ArgIndexes = target.injectorArgs(*c)
		c.Command = []string{wire.InjectorPath}
	}
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts,
		func(m corev1.VolumeMount) bool { return slices.Contains(injectedVolumeNames(), m.Name) })
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: wire.VolumeInjector, MountPath: wire.MountInjector, ReadOnly: true},
		corev1.VolumeMount{Name: s.credentialVolume(*c).Name, MountPath: wire.MountToken, ReadOnly: true})
	c.Env = mergeEnv(c.Env, slices.Concat(target.environment.dropChosenInSources(InjectorEnv(*c, s)), wait,
		recordedEnv(target.environment, expansion)))
}

// injectorArgs is the command line of the container's program, and the indexes of the arguments that the injector
// expands. The kubelet expands args but not the command of an image. Since the latter moves into args, its dollars are
// doubled.
func (t *Target) injectorArgs(c corev1.Container) (argv []string, expand []int) {
	for _, text := range t.Entrypoint {
		argv = append(argv, envref.Escape(text))
	}
	for _, text := range slices.Concat(c.Command, c.Args) {
		if rewritten, uses := t.environment.rewriteForInjector(text, afterAllVariables); uses {
			expand = append(expand, len(argv))
			text = rewritten
		}
		argv = append(argv, text)
	}
	if len(c.Command) == 0 && len(c.Args) == 0 {
		for _, text := range t.Cmd {
			argv = append(argv, envref.Escape(text))
		}
	}
	return argv, expand
}
