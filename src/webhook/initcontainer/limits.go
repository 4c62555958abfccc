package initcontainer

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// minInitMemory is the memory that the init container needs: for its program, and for the copy in the memory volume.
const minInitMemory = "24Mi"

// fitResources changes the resources of the init container so that the API server accepts them: within the resources of
// the pod as a whole, if it has any, and within the LimitRanges of the namespace.
func fitResources(r corev1.ResourceRequirements, pod *corev1.ResourceRequirements,
	ranges []corev1.LimitRangeItem) corev1.ResourceRequirements {
	for _, item := range ranges {
		fitLimitRange(r, item)
	}
	if pod != nil {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			lowerTo(r.Limits, name, pod.Limits)
			lowerTo(r.Requests, name, pod.Limits)
			lowerTo(r.Requests, name, pod.Requests)
		}
	}
	return r
}

// fitLimitRange applies one LimitRange item for containers or pods. Of a pod, the init container runs alone, so it must
// only stay below the maximum.
func fitLimitRange(r corev1.ResourceRequirements, item corev1.LimitRangeItem) {
	if item.Type == corev1.LimitTypePod {
		item = corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Max: item.Max}
	}
	if item.Type != corev1.LimitTypeContainer {
		return
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		lowerTo(r.Limits, name, item.Max)
		lowerTo(r.Requests, name, item.Max)
		raiseTo(r.Requests, name, item.Min)
		raiseTo(r.Limits, name, item.Min)
		raiseTo(r.Limits, name, r.Requests)
		ratio, ok := item.MaxLimitRequestRatio[name]
		limit, limited := r.Limits[name]
		if ok && limited && ratio.Sign() > 0 {
			least := int64(float64(limit.MilliValue())/ratio.AsApproximateFloat64()) + 1
			if name == corev1.ResourceMemory {
				least = (least + 999) / 1000 * 1000 // rounded up to whole bytes
			}
			request := *resource.NewMilliQuantity(min(least, limit.MilliValue()), limit.Format)
			raiseTo(r.Requests, name, corev1.ResourceList{name: request})
		}
	}
}

// lowerTo reduces a quantity to the maximum in another list.
func lowerTo(list corev1.ResourceList, name corev1.ResourceName, most corev1.ResourceList) {
	if bound, ok := most[name]; ok {
		if now, set := list[name]; set && now.Cmp(bound) > 0 {
			list[name] = bound
		}
	}
}

// raiseTo increases a quantity to the minimum in another list.
func raiseTo(list corev1.ResourceList, name corev1.ResourceName, least corev1.ResourceList) {
	if bound, ok := least[name]; ok {
		if now, set := list[name]; set && now.Cmp(bound) < 0 {
			list[name] = bound
		}
	}
}

// MemoryWarnings warns of a memory limit that is too low for the init container.
func MemoryWarnings(init corev1.Container) []string {
	limit, limited := init.Resources.Limits[corev1.ResourceMemory]
	if !limited || limit.Cmp(resource.MustParse(minInitMemory)) >= 0 {
		return nil
	}
	return []string{fmt.Sprintf("the init container %s of the env-injector has a memory limit of %s, because of the "+
		"resources of the pod or a LimitRange of its namespace, and needs %s; raise spec.resources.limits.memory "+
		"of the pod, or max.memory of the LimitRange", init.Name, limit.String(), minInitMemory)}
}
