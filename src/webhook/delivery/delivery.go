package delivery

import (
	"fmt"
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
)

// ParseMode parses a mode.
func ParseMode(text string) (Mode, error) {
	switch mode := Mode(strings.ToLower(strings.TrimSpace(text))); mode {
	case ModeAuto, ModeImage, ModeInit:
		return mode, nil
	}
	return "", fault.New(fault.Invalid, "this is not a delivery of the injector; write auto, image or init")
}

// Reason is the reason of a decision. It is a label of metrics.
type Reason string

// The reasons.
const (
	// ReasonSupported means that every node on which the pod may run mounts image volumes.
	ReasonSupported Reason = "supported"
	// ReasonConfigured means that the installation or the pod demands this delivery.
	ReasonConfigured Reason = "configured"
	// ReasonAPIServer means that the API server is older than 1.36, or that its version is not known.
	ReasonAPIServer Reason = "api-server"
	// ReasonNodesUnknown means that the nodes are not watched, or not known yet.
	ReasonNodesUnknown Reason = "nodes-unknown"
	// ReasonNoNode means that no node that the pod selects exists now.
	ReasonNoNode Reason = "no-node"
	// ReasonKubelet means that a node that the pod selects has a kubelet older than 1.36.
	ReasonKubelet Reason = "kubelet"
	// ReasonRuntime means that a node that the pod selects has a container runtime that can't mount images.
	ReasonRuntime Reason = "container-runtime"
	// ReasonRuntimeClass means that the pod has a runtime class that is not known to support image volumes.
	ReasonRuntimeClass Reason = "runtime-class"
	// ReasonSelector means that the rules of the pod for nodes are too large to be evaluated at admission.
	ReasonSelector Reason = "node-selector"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{ReasonSupported, ReasonConfigured, ReasonAPIServer, ReasonNodesUnknown, ReasonNoNode, ReasonKubelet,
		ReasonRuntime, ReasonRuntimeClass, ReasonSelector}
}

// Decision is how the injector gets into one pod.
type Decision struct {
	// ImageVolume is true for an image volume, and false for an init container.
	ImageVolume bool
	Reason      Reason
	// Version is that of the API server, kubelet or container runtime, or the name of the runtime class, for messages.
	// It can be empty. Node is the name of the node, for the log alone: anyone can send a review, and ask about nodes.
	Version, Node string
}

// Name is the delivery as a mode: image or init.
func (d Decision) Name() Mode {
	if d.ImageVolume {
		return ModeImage
	}
	return ModeInit
}

// Chooser decides for each pod. It is safe for concurrent use.
type Chooser struct {
	// Default is the mode of pods without the annotation wire.AnnotationDelivery.
	Default Mode
	// Nodes are the nodes of the cluster; nil if the program may not watch them.
	Nodes *Nodes
	// APIServer returns the version of the API server.
	APIServer *ServerVersion
}

// Choose decides how the injector gets into a pod. The error is of kind fault.Invalid if the annotation is not a mode,
// and if the pod or the installation demands an image volume that can't work.
func (c Chooser) Choose(pod *corev1.Pod) (Decision, error) {
	mode, source := c.Default, "the value env_injector.delivery"
	if text, ok := pod.Annotations[wire.AnnotationDelivery]; ok {
		var err error
		if mode, err = ParseMode(text); err != nil {
			return Decision{}, fmt.Errorf("the annotation %s of the pod: %w", wire.AnnotationDelivery, err)
		}
		source = "the annotation " + wire.AnnotationDelivery
	}
	if mode == ModeInit {
		return Decision{Reason: ReasonConfigured}, nil
	}
	d := c.supportFor(pod)
	if mode == ModeAuto || d.ImageVolume {
		return d, nil
	}
	if d.Reason == ReasonNodesUnknown || d.Reason == ReasonNoNode || d.Reason == ReasonSelector ||
		d.Reason == ReasonRuntimeClass && !isKnownSandbox(*pod.Spec.RuntimeClassName) {
		return Decision{ImageVolume: true, Reason: ReasonConfigured}, nil // nothing is known that speaks against it
	}
	return Decision{}, fault.New(fault.Invalid,
		"%s demands an image volume, which can't work for this pod: %s; change it to auto or init%s", source,
		d.explainUnsupported(), d.furtherStep())
}

// supportFor decides by what the cluster supports.
func (c Chooser) supportFor(pod *corev1.Pod) Decision {
	if version, ok := c.APIServer.supportsImageVolumes(); !ok {
		return Decision{Reason: ReasonAPIServer, Version: version}
	}
	if class := pod.Spec.RuntimeClassName; class != nil && !slices.Contains(plainRuntimeClasses(), *class) {
		return Decision{Reason: ReasonRuntimeClass, Version: inject.PrintableName(*class)}
	}
	if c.Nodes == nil {
		return Decision{Reason: ReasonNodesUnknown}
	}
	return c.Nodes.supportFor(pod)
}

// explainUnsupported explains why an image volume can't work.
func (d Decision) explainUnsupported() string {
	switch d.Reason {
	case ReasonAPIServer:
		if d.Version == "" {
			return "the version of the API server could not be read"
		}
		return "the API server is " + d.Version + ", and image volumes need 1.36"
	case ReasonKubelet:
		return "it may run on a node whose kubelet is " + d.Version + ", and image volumes need 1.36"
	case ReasonRuntime:
		return "it may run on a node whose container runtime is " + d.Version +
			", and image volumes need containerd 2.1 or CRI-O 1.31"
	case ReasonRuntimeClass:
		return "the runtime class " + d.Version + " does not mount images"
	case ReasonSupported, ReasonConfigured, ReasonNodesUnknown, ReasonNoNode, ReasonSelector:
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
