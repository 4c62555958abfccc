package podos_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/podos"
)

func TestPodsThatOnlyRunOnWindowsAreKnown(t *testing.T) {
	affinity := func(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
	}
	term := func(key string, operator corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpExists}, {Key: key, Operator: operator, Values: values}}}
	}
	const os, beta = "kubernetes.io/os", "beta.kubernetes.io/os"
	hostProcess := true
	options := &corev1.WindowsSecurityContextOptions{HostProcess: &hostProcess}
	for name, c := range map[string]struct {
		change func(*corev1.PodSpec)
		by     string
	}{
		"os":                  {func(s *corev1.PodSpec) { s.OS = &corev1.PodOS{Name: corev1.Windows} }, "os.name"},
		"selector":            {func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{os: "windows"} }, "nodeSelector kubernetes.io/os"},
		"selector, beta":      {func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{beta: "windows"} }, "nodeSelector beta.kubernetes.io/os"},
		"affinity":            {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "In", "windows")) }, "nodeAffinity"},
		"affinity, beta":      {func(s *corev1.PodSpec) { s.Affinity = affinity(term(beta, "In", "windows")) }, "nodeAffinity"},
		"affinity, not Linux": {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "NotIn", "linux")) }, "nodeAffinity"},
		"affinity, twice":     {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "In", "windows"), term(beta, "In", "windows")) }, "nodeAffinity"},
		"options":             {func(s *corev1.PodSpec) { s.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: options} }, "securityContext.windowsOptions"},
		"options, container": {func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext = &corev1.SecurityContext{WindowsOptions: options}
		}, "securityContext.windowsOptions of a container"},
		"either":      {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "In", "windows"), term(os, "In", "linux")) }, ""},
		"both in one": {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "In", "windows", "linux")) }, ""},
		"not Windows": {func(s *corev1.PodSpec) { s.Affinity = affinity(term(os, "NotIn", "windows")) }, ""},
		"Linux with an option": {func(s *corev1.PodSpec) {
			s.OS, s.SecurityContext = &corev1.PodOS{Name: corev1.Linux}, &corev1.PodSecurityContext{WindowsOptions: options}
		}, ""},
		"preferred, not needed": {func(s *corev1.PodSpec) { s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
			c.change(&pod.Spec)
			assert.Equal(t, c.by, podos.WindowsReason(pod))
		})
	}
}
