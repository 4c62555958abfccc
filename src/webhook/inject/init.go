package inject

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// program is the injector's path in its own image, and thin that of the one that can only ask the auth service.
const (
	program = "/usr/local/bin/azure-keyvault-env"
	// thin is the path of the smaller injector, which supports the auth service alone.
	thin = program + "-thin"
)

// nobody is the user of the init container unless the pod has one of its own.
const nobody int64 = 65532

// Init is what an installation may say about the init container. Nothing in it leads out of the restricted standard.
type Init struct {
	// Resources replace, one by one, what is asked for by default. A limit below its request is raised to it.
	Resources corev1.ResourceRequirements
	// User is the user ID; 0 means the user that the pod's containers share, or 65532.
	User int64
	// Group is the group ID; nil leaves it unset.
	Group *int64
	// Writable gives it a root that it may write to.
	Writable bool
}

// initContainer brings an injector into the pod, which copies itself, and waits until the pod can have its values. It
// passes the restricted standard in every pod.
func initContainer(pod *corev1.Pod, injector string, found *check, s Settings) corev1.Container {
	user := s.Init.User
	if user == 0 {
		user = sharedUser(pod)
	}
	yes, no, readOnly := true, false, !s.Init.Writable
	c := corev1.Container{
		Name: wire.InitContainer, Image: s.Image, ImagePullPolicy: s.PullPolicy,
		Command:      []string{injector, "copy", wire.MountBinary},
		VolumeMounts: []corev1.VolumeMount{{Name: wire.VolumeBinary, MountPath: wire.MountBinary}},
		Resources:    fit(resources(pod, s.Init.Resources), pod.Spec.Resources, s.Ranges),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: &user, RunAsGroup: s.Init.Group, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no,
			Privileged: &no, ReadOnlyRootFilesystem: &readOnly,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if c.Env = found.variables(pod, s); c.Env != nil {
		c.VolumeMounts = append(c.VolumeMounts,
			corev1.VolumeMount{Name: wire.VolumeToken, MountPath: wire.MountToken, ReadOnly: true})
	}
	return c
}

// resources are little to ask for and enough to copy fast; quotas want limits. A pod whose containers ask for exactly
// their limits is in the class Guaranteed, and stays there.
func resources(pod *corev1.Pod, wanted corev1.ResourceRequirements) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"),
			corev1.ResourceMemory: resource.MustParse("16Mi")},
		// The volume is memory, and the copy counts as this container's.
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
