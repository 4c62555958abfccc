package delivery

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Mode is a setting of how the injector gets into pods.
type Mode string

// The modes.
const (
	// ModeAuto uses an image volume where every node on which the pod may run supports it, otherwise an init container.
	ModeAuto Mode = "auto"
	// ModeImage uses an image volume, and rejects pods for which that can't work.
	ModeImage Mode = "image"
	// ModeInit uses an init container, which works on every supported cluster.
	ModeInit Mode = "init"
	// ModeEnvFile lets the kubelet set the values, from a file that an init container writes. Only a pod can demand it.
	ModeEnvFile Mode = wire.DeliveryEnvFile
)

// ParseMode parses the mode of an installation.
func ParseMode(text string) (Mode, error) {
	switch mode := Mode(strings.ToLower(strings.TrimSpace(text))); mode {
	case ModeAuto, ModeImage, ModeInit:
		return mode, nil
	case ModeEnvFile: // only for a pod
	}
	return "", fault.New(fault.Invalid, "this is not a delivery of the injector; write auto, image or init")
}

// CheckAnnotation rejects a pod whose annotation wire.AnnotationDelivery is not a delivery. The error is of kind
// fault.Invalid.
func CheckAnnotation(pod *corev1.Pod) error {
	text, ok := pod.Annotations[wire.AnnotationDelivery]
	if _, err := ParseMode(text); !ok || err == nil || inject.UsesEnvFile(pod) {
		return nil
	}
	return fault.New(fault.Invalid, "the annotation %s of the pod is not a delivery; write auto, image, init or "+
		"envfile", wire.AnnotationDelivery)
}

// Reason is the reason of a decision. It is a label of metrics.
type Reason string

// The reasons.
const (
	// ReasonSupported means that every node on which the pod may run mounts image volumes.
	ReasonSupported Reason = "supported"
	// ReasonConfigured means that the installation or the pod demands this delivery.
	ReasonConfigured Reason = "configured"
	// ReasonAPIServer means that the API server is too old, or that its version is not known.
	ReasonAPIServer Reason = "api-server"
	// ReasonNodesUnknown means that the nodes are not watched, or not known yet.
	ReasonNodesUnknown Reason = "nodes-unknown"
	// ReasonNoNode means that no node that the pod selects exists now.
	ReasonNoNode Reason = "no-node"
	// ReasonKubelet means that a node that the pod selects has a kubelet that is too old.
	ReasonKubelet Reason = "kubelet"
	// ReasonRuntime means that a node that the pod selects has a container runtime that can't mount images.
	ReasonRuntime Reason = "container-runtime"
	// ReasonRuntimeClass means that the pod has a runtime class that is not known to support image volumes.
	ReasonRuntimeClass Reason = "runtime-class"
	// ReasonPolicy means that pods with image volumes are not created in the namespace: a policy denies them.
	ReasonPolicy Reason = "policy"
	// ReasonSelector means that the rules of the pod for nodes are too large to be evaluated at admission.
	ReasonSelector Reason = "node-selector"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{ReasonSupported, ReasonConfigured, ReasonAPIServer, ReasonNodesUnknown, ReasonNoNode, ReasonKubelet,
		ReasonRuntime, ReasonRuntimeClass, ReasonPolicy, ReasonSelector}
}

// Decision is how the injector, or the values, get into one pod.
type Decision struct {
	// Mode is ModeImage, ModeInit or ModeEnvFile.
	Mode   Mode
	Reason Reason
	// Version is that of the API server, kubelet or container runtime, or the name of the runtime class, for messages.
	// It can be empty. Node is the name of the node, for the log alone: anyone can send a review, and ask about nodes.
	Version, Node string
}

// Chooser decides for each pod. It is safe for concurrent use.
type Chooser struct {
	// Default is the mode of pods without the annotation wire.AnnotationDelivery.
	Default Mode
	// Nodes are the nodes of the cluster; nil if the program may not watch them.
	Nodes *Nodes
	// APIServer returns the version of the API server.
	APIServer *ServerVersion
	// Denials detects policies that deny image volumes; nil if the program may not list pods.
	Denials *Denials
}

// Choose decides how the injector gets into a pod. The error is of kind fault.Invalid if the annotation is not a mode,
// and if the pod or the installation demands a delivery that can't work. A dry run is not counted as an attempt to
// create the pod.
func (c Chooser) Choose(ctx context.Context, pod *corev1.Pod, dryRun bool) (Decision, error) {
	mode, source := c.Default, "the value env_injector.delivery"
	if text, ok := pod.Annotations[wire.AnnotationDelivery]; ok {
		source = "the annotation " + wire.AnnotationDelivery
		if err := CheckAnnotation(pod); err != nil {
			return Decision{}, err
		}
		mode = Mode(strings.ToLower(strings.TrimSpace(text)))
	}
	switch mode {
	case ModeInit:
		return Decision{Mode: ModeInit, Reason: ReasonConfigured}, nil
	case ModeAuto:
		if reason := c.imageVolumeReason(pod); reason.Reason != ReasonSupported {
			reason.Mode = ModeInit
			return reason, nil
		}
		if c.Denials != nil && !dryRun && c.Denials.areDenied(ctx, pod) {
			return Decision{Mode: ModeInit, Reason: ReasonPolicy}, nil
		}
		return Decision{Mode: ModeImage, Reason: ReasonSupported}, nil
	case ModeImage, ModeEnvFile:
	}
	return c.chooseDemanded(pod, mode, source)
}

// chooseDemanded chooses the delivery that the pod or the installation demands, unless it can't work.
func (c Chooser) chooseDemanded(pod *corev1.Pod, mode Mode, source string) (Decision, error) {
	found := c.envFileReason(pod)
	if mode == ModeImage {
		found = c.imageVolumeReason(pod)
	}
	found.Mode = mode
	switch found.Reason {
	case ReasonSupported:
		return Decision{Mode: mode, Reason: found.Reason}, nil
	case ReasonRuntimeClass:
		if !isKnownSandbox(*pod.Spec.RuntimeClassName) {
			return Decision{Mode: mode, Reason: ReasonConfigured}, nil
		}
	case ReasonNodesUnknown, ReasonNoNode, ReasonSelector: // nothing is known that speaks against it
		return Decision{Mode: mode, Reason: ReasonConfigured}, nil
	case ReasonConfigured, ReasonAPIServer, ReasonKubelet, ReasonRuntime, ReasonPolicy:
	}
	return Decision{}, fault.New(fault.Invalid, "%s demands %s, which can't work for this pod: %s; change it to auto "+
		"or init%s", source, requirements()[mode].singular, found.explainUnsupported(), found.furtherStep())
}

// requirement is what a delivery needs of a cluster.
type requirement struct {
	// singular and plural are the names of what is needed, for messages.
	singular, plural string
	// version is the first version of Kubernetes with the feature, as MAJOR.MINOR.
	version string
}

// requirements are those of image volumes and of env files. Both features have been enabled by default for longer:
// image volumes are stable from this version on, and env files are beta and enabled by default.
func requirements() map[Mode]requirement {
	return map[Mode]requirement{
		ModeImage:   {singular: "an image volume", plural: "image volumes", version: "1.36"},
		ModeEnvFile: {singular: "env files", plural: "env files", version: "1.35"},
	}
}

// imageVolumeReason returns ReasonSupported if the pod can get an image volume, or the reason why not.
func (c Chooser) imageVolumeReason(pod *corev1.Pod) Decision {
	if version, ok := c.APIServer.isAtLeast(requirements()[ModeImage].version); !ok {
		return Decision{Reason: ReasonAPIServer, Version: version}
	}
	if class := pod.Spec.RuntimeClassName; class != nil && !slices.Contains(plainRuntimeClasses(), *class) {
		return Decision{Reason: ReasonRuntimeClass, Version: inject.PrintableName(*class)}
	}
	if c.Nodes == nil {
		return Decision{Reason: ReasonNodesUnknown}
	}
	return c.Nodes.imageVolumeReason(pod)
}

// envFileReason returns ReasonSupported if the kubelet can set the pod's values, or the reason why not. Container
// runtimes take no part in it.
func (c Chooser) envFileReason(pod *corev1.Pod) Decision {
	first := requirements()[ModeEnvFile].version
	if version, ok := c.APIServer.isAtLeast(first); !ok {
		return Decision{Reason: ReasonAPIServer, Version: version}
	}
	if c.Nodes == nil {
		return Decision{Reason: ReasonNodesUnknown}
	}
	return c.Nodes.kubeletReason(pod, first)
}

// Explain returns why the delivery can't work, or was chosen, for messages.
func (d Decision) Explain() string { return d.explainUnsupported() }

// explainUnsupported explains why the delivery can't work.
func (d Decision) explainUnsupported() string {
	needs := requirements()[d.Mode].plural + " need "
	switch d.Reason {
	case ReasonAPIServer:
		if d.Version == "" {
			return "the version of the API server could not be read"
		}
		return "the API server is " + d.Version + ", and " + needs + requirements()[d.Mode].version
	case ReasonKubelet:
		return "it may run on a node whose kubelet is " + d.Version + ", and " + needs + requirements()[d.Mode].version
	case ReasonRuntime:
		return "it may run on a node whose container runtime is " + d.Version + ", and " + needs +
			"containerd 2.1 or CRI-O 1.31"
	case ReasonRuntimeClass:
		return "the runtime class " + d.Version + " does not mount images"
	case ReasonSupported, ReasonConfigured, ReasonNodesUnknown, ReasonNoNode, ReasonSelector, ReasonPolicy:
	}
	return string(d.Reason)
}

// furtherStep is a further next step, empty if there is none.
func (d Decision) furtherStep() string {
	if d.Reason == ReasonKubelet || d.Reason == ReasonRuntime {
		return ", or select other nodes"
	}
	return ""
}

// plainRuntimeClasses are the usual names of runtime classes whose runtime is runc or crun, which mount images. A name
// can mean anything, so every other class gets an init container unless the pod demands an image volume.
func plainRuntimeClasses() []string {
	return []string{"", "runc", "crun", "nvidia", "nvidia-cdi", "nvidia-legacy"}
}

// isKnownSandbox reports whether a runtime class is one of gVisor, which does not mount images (google/gvisor#14471).
func isKnownSandbox(class string) bool {
	return strings.Contains(class, "gvisor") || strings.Contains(class, "runsc")
}
