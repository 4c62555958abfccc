package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

const (
	// maxVariableBytes is the limit of Linux for one environment variable in bytes, with its name and the NUL at its
	// end.
	maxVariableBytes = 128 << 10
	// etcdWarningBytes is the default limit of etcd for one object in bytes, less a reserve for what the API server
	// adds.
	etcdWarningBytes = 1536<<10 - 16<<10
)

// CheckSize checks the size of a mutated pod. The error is of kind fault.Invalid, for a pod whose containers could not
// start because of an added variable (the container runtime would only report that the argument list is too long), and
// for a pod that the API server would reject. The warnings are about a pod that can be too large for etcd, and about an
// init container with too little memory.
func CheckSize(pod *corev1.Pod) (warnings []string, err error) {
	for _, c := range allContainers(pod) {
		for _, v := range c.Env {
			isOurs := (isWrapped(c) || isOwnInitContainer(c)) && isReserved(v.Name)
			if isOurs && len(v.Name)+len("=")+len(v.Value)+1 > maxVariableBytes {
				return nil, invalidContainerError(c,
					"%s, which the env-injector adds, would be longer than %d KiB, the limit of Linux for one "+
						"variable; %s", v.Name, maxVariableBytes>>10, sizeAdvice(v.Name))
			}
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name == wire.InitContainer || c.Name == wire.FilesContainer {
			warnings = append(warnings, initcontainer.MemoryWarnings(c)...)
		}
	}
	stored := *pod
	stored.ManagedFields = nil // the API server drops them if the pod is too large
	size := stored.Size()
	if size > limits.InjectedPodBytes {
		return nil, fault.New(fault.Invalid,
			"the injected pod would have %d bytes, and the limit of the API server is %d; use fewer containers, or "+
				"move variables into a ConfigMap (envFrom)", size, limits.InjectedPodBytes)
	}
	if size > etcdWarningBytes {
		warnings = append(warnings,
			fmt.Sprintf("the injected pod has %d bytes, and etcd stores 1.5 MiB by default; if the API server "+
				"rejects the pod as too large, move variables into a ConfigMap (envFrom)", size))
	}
	return warnings, nil
}

// sizeAdvice is the next step for an added variable that is too long.
func sizeAdvice(name string) string {
	switch name {
	case wire.EnvReferences:
		return "write some of the references that come from ConfigMaps, Secrets and fields of the pod into env"
	case wire.EnvImageReferences:
		return "write some of the references of the image's own environment into env"
	case wire.EnvExpand:
		return "use $(NAME) of injected variables in fewer variables and arguments"
	default:
		return "remove public certificate authorities from global.extraCACertificates; they are trusted without it"
	}
}
