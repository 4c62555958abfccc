package podos

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// betaOSLabel is the deprecated label that corev1.LabelOSStable replaced; nodes still have it.
const betaOSLabel = "beta.kubernetes.io/os"

// WindowsReason is the field of the pod by which it can only run on Windows, or empty.
func WindowsReason(pod *corev1.Pod) string {
	spec := &pod.Spec
	if spec.OS != nil && isWindows(string(spec.OS.Name)) {
		return "os.name"
	}
	for _, label := range []string{corev1.LabelOSStable, betaOSLabel} {
		if isWindows(spec.NodeSelector[label]) {
			return "nodeSelector " + label
		}
	}
	if required := requiredNodeSelector(spec); required != nil && len(required.NodeSelectorTerms) > 0 {
		for _, term := range required.NodeSelectorTerms { // terms are alternatives
			if !requiresWindows(term) {
				return windowsOptionsReason(spec)
			}
		}
		return "nodeAffinity"
	}
	return windowsOptionsReason(spec)
}

func isWindows(name string) bool { return strings.EqualFold(name, string(corev1.Windows)) }

// requiredNodeSelector is the required node affinity, or nil.
func requiredNodeSelector(spec *corev1.PodSpec) *corev1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// requiresWindows says whether a term selects only Windows nodes.
func requiresWindows(term corev1.NodeSelectorTerm) bool {
	for _, e := range term.MatchExpressions {
		if e.Key != corev1.LabelOSStable && e.Key != betaOSLabel {
			continue
		}
		if allowsOnlyWindows(e) {
			return true
		}
	}
	return false
}

// allowsOnlyWindows says whether only Windows meets a requirement for the label of the operating system.
func allowsOnlyWindows(e corev1.NodeSelectorRequirement) bool {
	windows, others := false, false
	for _, value := range e.Values {
		windows, others = windows || isWindows(value), others || !isWindows(value)
	}
	if e.Operator == corev1.NodeSelectorOpIn {
		return windows && !others
	}
	return e.Operator == corev1.NodeSelectorOpNotIn && !windows && slices.Contains(e.Values, string(corev1.Linux))
}

// windowsOptionsReason is the security context field with Windows options, or empty. The API server rejects such
// options in a pod for Linux.
func windowsOptionsReason(spec *corev1.PodSpec) string {
	if spec.OS != nil && spec.OS.Name == corev1.Linux {
		return ""
	}
	if spec.SecurityContext != nil && spec.SecurityContext.WindowsOptions != nil {
		return "securityContext.windowsOptions"
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			return "securityContext.windowsOptions of a container"
		}
	}
	return ""
}
