package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/envref"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/podos"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Plan is the decision about a pod, and the input of Mutate.
type Plan struct {
	// Targets are the containers to wrap. Names are unique among the containers, init containers and ephemeral
	// containers of a pod.
	Targets []Target
	// Warnings are sentences for the user who creates the pod.
	Warnings []string
}

// Target is a container to wrap.
type Target struct {
	// Container is the name of the container.
	Container string
	// LookupImage is the image whose entrypoint and command Mutate needs, or empty if the pod itself has the command.
	LookupImage string
	// Entrypoint and Cmd come from the image. The annotation wire.AnnotationCommands sets Entrypoint in its place.
	Entrypoint, Cmd []string
	// Precaution says that the container has no known reference, but a source of its environment is missing. If its
	// image cannot be read, the container can stay unchanged.
	Precaution bool

	environment *environment
}

// AddImageReferences adds the references in the environment of the image. A variable that the pod sets overrides that
// of the image. The error is of kind fault.Invalid, for a malformed reference, with which the program could not start.
func (t *Target) AddImageReferences(references map[string]string) error {
	e := t.environment
	for _, name := range slices.Sorted(maps.Keys(references)) {
		if _, set := e.variables[name]; set || isReserved(name) {
			continue
		}
		if _, err := envref.Parse(references[name]); err != nil {
			return invalidContainerError(corev1.Container{Name: t.Container}, "variable %s, from the image itself: %v",
				PrintableName(name),
				err)
		}
		e.imageReferences[name] = references[name]
	}
	return nil
}

// IsEmpty says whether no container is wrapped, so that the pod stays unchanged.
func (p Plan) IsEmpty() bool { return len(p.Targets) == 0 }

// TargetFor is the target of that container, or nil.
func (p Plan) TargetFor(container string) *Target {
	for i := range p.Targets {
		if p.Targets[i].Container == container {
			return &p.Targets[i]
		}
	}
	return nil
}

// targetsByName has the targets by the names of their containers.
func (p Plan) targetsByName() map[string]*Target {
	targets := make(map[string]*Target, len(p.Targets))
	for i := range p.Targets {
		targets[p.Targets[i].Container] = &p.Targets[i]
	}
	return targets
}

// WithoutContainer returns a copy of the plan without that container and with an additional warning.
func (p Plan) WithoutContainer(container, warning string) Plan {
	p.Targets = slices.DeleteFunc(slices.Clone(p.Targets), func(t Target) bool { return t.Container == container })
	p.Warnings = append(slices.Clone(p.Warnings), warning)
	return p
}

// Decide makes the plan for a new pod, for its containers and init containers. An error of kind fault.Invalid rejects a
// pod that would start with a raw reference, or whose references can never be resolved. It names the container, the
// variable and the next step, and never holds a value.
func Decide(pod *corev1.Pod, sources Sources) (Plan, error) {
	var plan Plan
	if IsExcluded(pod) {
		return plan, nil
	}
	plan, err := decideContainers(pod, slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), sources)
	if err != nil || plan.IsEmpty() {
		plan.Warnings = append(plan.Warnings, injectMetadataWarnings(pod)...)
		return plan, err
	}
	if err := checkInjectMetadata(pod); err != nil {
		return Plan{}, err
	}
	if UsesEnvFile(pod) && HasMeshProxy(pod) {
		plan.Warnings = append(plan.Warnings, envFileMeshWarning())
	}
	return plan, checkReservedNames(pod)
}

// DecideEphemeral makes the plan for the ephemeral containers that are in pod and not in old. Volumes cannot be added
// to a running pod, so a pod without the volumes of an injected pod is rejected. direct says that the installation has
// no auth service.
func DecideEphemeral(old, pod *corev1.Pod, sources Sources, direct bool) (Plan, error) {
	if IsExcluded(pod) {
		return Plan{}, nil
	}
	var added []corev1.Container
	before := make(map[string]bool, len(old.Spec.EphemeralContainers))
	for _, e := range old.Spec.EphemeralContainers {
		before[e.Name] = true
	}
	for _, e := range pod.Spec.EphemeralContainers {
		if !before[e.Name] {
			added = append(added, corev1.Container(e.EphemeralContainerCommon))
		}
	}
	plan, err := decideContainers(pod, added, sources)
	if err != nil {
		return Plan{}, err
	}
	plan.Targets = slices.DeleteFunc(plan.Targets, func(t Target) bool { return t.Precaution })
	if len(plan.Targets) == 0 {
		return plan, nil
	}
	if err := checkMounts(pod, added); err != nil {
		return Plan{}, err
	}
	return plan, checkEphemeral(old, plan.Targets[0].Container, plan.requiredVolumes(added, direct))
}

// checkEphemeral rejects a container that is added to a running pod without these volumes.
func checkEphemeral(old *corev1.Pod, container string, volumes []string) error {
	c := corev1.Container{Name: container}
	if UsesEnvFile(old) {
		return invalidContainerError(c,
			"it has references to Key Vault, and this pod has env files, to which nothing can be added while it runs; "+
				"use kubectl exec in one of its containers, which have the values")
	}
	for _, volume := range volumes {
		if !slices.ContainsFunc(old.Spec.Volumes,
			func(v corev1.Volume) bool { return v.Name == volume && !IsForeignVolume(v) }) {
			return invalidContainerError(c,
				"it has references to Key Vault, but this pod was not injected when it was created; use kubectl debug "+
					"--copy-to, which creates a new pod")
		}
	}
	return nil
}

// IsExcluded says whether the webhook ignores the pod: its label switches injection off, or it is the mirror pod of a
// static pod, which cannot be changed.
func IsExcluded(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror || isInjectionDisabled(pod)
}

// decideContainers makes the plan for some containers of a pod, without the checks of the pod as a whole.
func decideContainers(pod *corev1.Pod, containers []corev1.Container, sources Sources) (Plan, error) {
	var plan Plan
	commands, err := annotatedCommands(pod)
	if err != nil {
		return plan, err
	}
	onlyOn := podos.WindowsReason(pod)
	for _, c := range containers {
		if isOwnInitContainer(c) {
			continue
		}
		target, warnings, err := decideContainer(pod, c, sources, onlyOn)
		if err != nil {
			return Plan{}, err
		}
		plan.Warnings = append(plan.Warnings, warnings...)
		if target == nil {
			continue
		}
		if len(c.Command) == 0 && !UsesEnvFile(pod) {
			if target.Entrypoint = commands[c.Name]; target.Entrypoint == nil {
				target.LookupImage = c.Image
			}
		}
		plan.Targets = append(plan.Targets, *target)
	}
	return plan, nil
}

// decideContainer decides about one container, and returns nil if it stays unchanged. onWindows is the reason why the
// pod can only run on Windows, or empty.
func decideContainer(pod *corev1.Pod, c corev1.Container, sources Sources, onWindows string) (*Target, []string,
	error) {
	e, err := evaluateEnvironment(pod, c, sources)
	if err != nil {
		return nil, nil, err
	}
	e.warnings = append(e.warnings, commandWarnings(c)...)
	wanted := e.needsInjector() || isAlwaysInjected(pod)
	if !wanted && (!e.hasMissingSource || onWindows != "") {
		return nil, e.warnings, nil
	}
	if err := checkInjectable(c, onWindows); err != nil {
		return nil, nil, err
	}
	warnings, err := checkContainerSettings(c, e)
	if err != nil {
		return nil, nil, err
	}
	return &Target{Container: c.Name, Precaution: !wanted, environment: e},
		slices.Concat(e.warnings, warnings), nil
}

// requiredVolumes are the names of the volumes that the plan's containers need, sorted.
func (p Plan) requiredVolumes(containers []corev1.Container, direct bool) []string {
	if p.IsEmpty() {
		return nil
	}
	names := map[string]bool{wire.VolumeInjector: true}
	targets := p.targetsByName()
	for _, c := range containers {
		if targets[c.Name] == nil {
			continue
		}
		if direct || isAuthServiceDisabled(c) {
			names[wire.VolumeAPIAccess] = true
		} else {
			names[wire.VolumeToken] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// annotatedCommands are the commands by container in the annotation wire.AnnotationCommands of the pod.
func annotatedCommands(pod *corev1.Pod) (map[string][]string, error) {
	text, ok := pod.Annotations[wire.AnnotationCommands]
	if !ok {
		return nil, nil
	}
	var commands map[string][]string
	if json.Unmarshal([]byte(text), &commands) != nil {
		return nil, fault.New(fault.Invalid,
			`the annotation %s is not a JSON object of container names and commands; write for example {"app": ["/app", "--serve"]}`,
			wire.AnnotationCommands)
	}
	exists := map[string]bool{}
	for _, c := range allContainers(pod) {
		exists[c.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if !exists[name] {
			return nil, fault.New(fault.Invalid,
				"the annotation %s names container %q, which the pod does not have; correct the name",
				wire.AnnotationCommands, PrintableName(name))
		}
		if len(commands[name]) == 0 {
			return nil, fault.New(fault.Invalid,
				"the annotation %s has no command for container %q; write the command that its image runs",
				wire.AnnotationCommands, PrintableName(name))
		}
	}
	return commands, nil
}

// commandWarnings warns of references in the command and its arguments, where they are not resolved.
func commandWarnings(c corev1.Container) []string {
	for _, text := range slices.Concat(c.Command, c.Args) {
		if envref.IsIntendedReference(text) || envref.NeedsWarning(text) {
			return []string{fmt.Sprintf("container %q: a reference to Key Vault in its command or args is not "+
				"resolved; move it into a variable of env, and write $(NAME) into args", PrintableName(c.Name))}
		}
	}
	return nil
}
