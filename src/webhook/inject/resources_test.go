package inject_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

func list(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

// TestTheInitContainerFitsThePodAndItsNamespace has pods and LimitRanges with which the API server once rejected the
// init container.
func TestTheInitContainerFitsThePodAndItsNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		pod    *corev1.ResourceRequirements
		ranges []corev1.LimitRangeItem
		// want is the request and limit of CPU, and the request and limit of memory.
		want  [4]string
		warns bool
	}{
		"nothing":                 {nil, nil, [4]string{"5m", "500m", "16Mi", "64Mi"}, false},
		"limits of the pod":       {&corev1.ResourceRequirements{Limits: list("100m", "32Mi")}, nil, [4]string{"5m", "100m", "16Mi", "32Mi"}, false},
		"requests of the pod":     {&corev1.ResourceRequirements{Requests: list("1m", "8Mi")}, nil, [4]string{"1m", "500m", "8Mi", "64Mi"}, false},
		"a pod that is too small": {&corev1.ResourceRequirements{Limits: list("", "12Mi")}, nil, [4]string{"5m", "500m", "12Mi", "12Mi"}, true},
		"max":                     {nil, []corev1.LimitRangeItem{{Type: "Container", Max: list("100m", "32Mi")}}, [4]string{"5m", "100m", "16Mi", "32Mi"}, false},
		"min":                     {nil, []corev1.LimitRangeItem{{Type: "Container", Min: list("50m", "128Mi")}}, [4]string{"50m", "500m", "128Mi", "128Mi"}, false},
		"ratio":                   {nil, []corev1.LimitRangeItem{{Type: "Container", MaxLimitRequestRatio: list("4", "2")}}, [4]string{"126m", "500m", "33554433", "64Mi"}, false},
		"max and ratio of one":    {nil, []corev1.LimitRangeItem{{Type: "Container", Max: list("100m", "32Mi"), MaxLimitRequestRatio: list("1", "1")}}, [4]string{"100m", "100m", "32Mi", "32Mi"}, false},
		"two":                     {nil, []corev1.LimitRangeItem{{Type: "Container", Max: list("200m", "")}, {Type: "Container", Min: list("10m", "20Mi")}}, [4]string{"10m", "200m", "20Mi", "64Mi"}, false},
		"of pods":                 {nil, []corev1.LimitRangeItem{{Type: "Pod", Max: list("200m", ""), Min: list("1", "1Gi")}}, [4]string{"5m", "200m", "16Mi", "64Mi"}, false},
		"of volumes":              {nil, []corev1.LimitRangeItem{{Type: "PersistentVolumeClaim", Max: list("1m", "1Mi")}}, [4]string{"5m", "500m", "16Mi", "64Mi"}, false},
		"too small a namespace":   {nil, []corev1.LimitRangeItem{{Type: "Container", Max: list("", "10Mi")}}, [4]string{"5m", "500m", "10Mi", "10Mi"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := with(referenceA)
			pod.Spec.Resources = c.pod
			plan, err := inject.Decide(pod, nil)
			require.NoError(t, err)
			s := settings()
			s.LimitRanges = c.ranges
			out := inject.Mutate(pod, plan, s)
			r := out.Spec.InitContainers[0].Resources
			for i, got := range []resource.Quantity{r.Requests[corev1.ResourceCPU], r.Limits[corev1.ResourceCPU], r.Requests[corev1.ResourceMemory], r.Limits[corev1.ResourceMemory]} {
				assert.Zero(t, got.Cmp(resource.MustParse(c.want[i])), "%d: %s, not %s", i, got.String(), c.want[i])
			}
			warnings, err := inject.CheckSize(out)
			require.NoError(t, err)
			assert.Equal(t, c.warns, len(warnings) > 0, "%v", warnings)
		})
	}
}
