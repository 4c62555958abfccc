package initcontainer

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// defaultUser is the default user ID of the init container.
const defaultUser int64 = 65532

// Settings has the settings of an installation for the init container. With every setting the init
// container meets the restricted Pod Security Standard.
type Settings struct {
	// Resources override the default requests and limits one by one. A limit below its request is raised to it.
	Resources corev1.ResourceRequirements
	// RunAsUser is the user ID; 0 means the user that the pod's containers share, or 65532.
	RunAsUser int64
	// RunAsGroup is the group ID; nil leaves it unset.
	RunAsGroup *int64
	// WritableRoot makes the root file system writable.
	WritableRoot bool
}

// SecurityContext returns the security context for the init container of a pod.
func (s Settings) SecurityContext(pod *corev1.Pod) *corev1.SecurityContext {
	user := s.RunAsUser
	if user == 0 {
		user = sharedUser(pod)
	}
	yes, no, readOnly := true, false, !s.WritableRoot
	return &corev1.SecurityContext{
		RunAsUser: &user, RunAsGroup: s.RunAsGroup, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
		Privileged: &no, ReadOnlyRootFilesystem: &readOnly,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// ResourcesFor returns the requests and limits for the init container of a pod, within the resources of the pod as a
// whole and the LimitRanges of its namespace.
func (s Settings) ResourcesFor(pod *corev1.Pod, ranges []corev1.LimitRangeItem) corev1.ResourceRequirements {
	return fitResources(initResources(pod, s.Resources), pod.Spec.Resources, ranges)
}

// initResources are the requests and limits of the init container before the limits of pod and namespace apply.
// Requests are low, and the CPU limit allows a fast copy. Both are set because a ResourceQuota can require it. A pod of
// the QoS class Guaranteed stays in this class.
func initResources(pod *corev1.Pod, wanted corev1.ResourceRequirements) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"),
			corev1.ResourceMemory: resource.MustParse("16Mi")},
		// The copy is in a memory volume, and its memory is charged to this container.
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"),
			corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
	maps.Copy(r.Requests, wanted.Requests)
	maps.Copy(r.Limits, wanted.Limits)
	for name, request := range r.Requests {
		if limit, ok := r.Limits[name]; ok && limit.Cmp(request) < 0 {
			r.Limits[name] = request
		}
	}
	var cpu resource.Quantity
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name != wire.InitContainer && !isGuaranteed(c) {
			return r
		}
	}
	for _, c := range pod.Spec.Containers {
		cpu.Add(*c.Resources.Limits.Cpu())
	}
	// The pod must not need a larger node because of its init container.
	if cpu.Cmp(*r.Limits.Cpu()) < 0 {
		r.Limits[corev1.ResourceCPU] = cpu
	}
	r.Requests = r.Limits.DeepCopy()
	return r
}

// isGuaranteed says whether the requests of a container equal its limits. A request that is not set defaults to its
// limit.
func isGuaranteed(c corev1.Container) bool {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit, limited := c.Resources.Limits[name]
		request, requested := c.Resources.Requests[name]
		if !limited || limit.IsZero() || (requested && request.Cmp(limit) != 0) {
			return false
		}
	}
	return true
}

// sharedUser is the user ID that all containers share, since the cluster may allow no other. It is 65532 if they have
// different users, or if one of them is root or not known.
func sharedUser(pod *corev1.Pod) int64 {
	var shared int64
	for i, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == wire.InitContainer {
			continue
		}
		user := RunAsUser(pod, c)
		if user == 0 || (i > 0 && shared != 0 && user != shared) {
			return defaultUser
		}
		shared = user
	}
	if shared == 0 {
		return defaultUser
	}
	return shared
}

// RunAsUser is the user ID of a container; 0 means root or not known.
func RunAsUser(pod *corev1.Pod, c corev1.Container) int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return *c.SecurityContext.RunAsUser
	}
	if pod.Spec.SecurityContext != nil && pod.Spec.SecurityContext.RunAsUser != nil {
		return *pod.Spec.SecurityContext.RunAsUser
	}
	return 0
}
