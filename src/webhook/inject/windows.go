package inject

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// betaOS is the deprecated label that corev1.LabelOSStable replaced; nodes still have it.
const betaOS = "beta.kubernetes.io/os"

// windows is the field of the pod by which it can only run on Windows, or empty.
func windows(pod *corev1.Pod) string {
	spec := &pod.Spec
	if spec.OS != nil && isWindows(string(spec.OS.Name)) {
		return "os.name"
	}
	for _, label := range []string{corev1.LabelOSStable, betaOS} {
		if isWindows(spec.NodeSelector[label]) {
			return "nodeSelector " + label
		}
	}
	if required := requiredNodes(spec); required != nil && len(required.NodeSelectorTerms) > 0 {
		for _, term := range required.NodeSelectorTerms { // terms are alternatives
			if !onlyWindows(term) {
				return windowsOptions(spec)
			}
		}
		return "nodeAffinity"
	}
	return windowsOptions(spec)
}

func isWindows(name string) bool { return strings.EqualFold(name, string(corev1.Windows)) }

// requiredNodes is the required node affinity, or nil.
func requiredNodes(spec *corev1.PodSpec) *corev1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// onlyWindows says whether a term selects only Windows nodes.
func onlyWindows(term corev1.NodeSelectorTerm) bool {
	for _, e := range term.MatchExpressions {
		if e.Key != corev1.LabelOSStable && e.Key != betaOS {
			continue
		}
		if isWindowsAlone(e) {
			return true
		}
	}
	return false
}

// isWindowsAlone says whether only Windows meets a requirement for the label of the operating system.
func isWindowsAlone(e corev1.NodeSelectorRequirement) bool {
	windows, others := false, false
	for _, value := range e.Values {
		windows, others = windows || isWindows(value), others || !isWindows(value)
	}
	if e.Operator == corev1.NodeSelectorOpIn {
		return windows && !others
	}
	return e.Operator == corev1.NodeSelectorOpNotIn && !windows && contains(e.Values, string(corev1.Linux))
}

func contains(values []string, wanted string) bool {
	for _, value := range values {
		if value == wanted {
			return true
		}
	}
	return false
}

// windowsOptions is the security context field with Windows options, or empty. The API server rejects such options in a
// pod for Linux.
func windowsOptions(spec *corev1.PodSpec) string {
	if spec.OS != nil && spec.OS.Name == corev1.Linux {
		return ""
	}
	if spec.SecurityContext != nil && spec.SecurityContext.WindowsOptions != nil {
		return "securityContext.windowsOptions"
	}
	for _, c := range containers(&corev1.Pod{Spec: *spec}) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			return "securityContext.windowsOptions of a container"
		}
	}
	return ""
}
