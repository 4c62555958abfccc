package initcontainer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
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

// assertResources compares the request and limit of CPU, and the request and limit of memory.
func assertResources(t *testing.T, want [4]string, r corev1.ResourceRequirements) {
	t.Helper()
	for i, got := range []resource.Quantity{r.Requests[corev1.ResourceCPU], r.Limits[corev1.ResourceCPU], r.Requests[corev1.ResourceMemory], r.Limits[corev1.ResourceMemory]} {
		assert.Zero(t, got.Cmp(resource.MustParse(want[i])), "%d: %s, not %s", i, got.String(), want[i])
	}
}

// TestTheInitContainerFitsThePodAndItsNamespace has pods and LimitRanges with which the API server once rejected the
// init container.
func TestTheInitContainerFitsThePodAndItsNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		pod    *corev1.ResourceRequirements
		ranges []corev1.LimitRangeItem
		want   [4]string
		warns  bool
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
			pod := &corev1.Pod{Spec: corev1.PodSpec{Resources: c.pod, Containers: []corev1.Container{{Name: "app"}}}}
			got := initcontainer.Settings{}.ResourcesFor(pod, c.ranges)
			assertResources(t, c.want, got)
			warnings := initcontainer.MemoryWarnings(corev1.Container{Name: "init", Resources: got})
			assert.Equal(t, c.warns, len(warnings) > 0, "%v", warnings)
		})
	}
}

func TestAGuaranteedPodStaysGuaranteed(t *testing.T) {
	limited := func(cpu, memory string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Limits: list(cpu, memory)}}
	}
	own := limited("1", "1Gi")
	own.Name = "copy-azurekeyvault-env"
	for name, c := range map[string]struct {
		containers []corev1.Container
		settings   corev1.ResourceRequirements
		want       [4]string
	}{
		"of much":             {[]corev1.Container{limited("1", "1Gi")}, corev1.ResourceRequirements{}, [4]string{"500m", "500m", "64Mi", "64Mi"}},
		"of little":           {[]corev1.Container{limited("50m", "1Gi"), limited("50m", "1Gi")}, corev1.ResourceRequirements{}, [4]string{"100m", "100m", "64Mi", "64Mi"}},
		"with one that isn't": {[]corev1.Container{limited("1", "1Gi"), limited("1", "")}, corev1.ResourceRequirements{}, [4]string{"5m", "500m", "16Mi", "64Mi"}},
		"a request above it":  {[]corev1.Container{{}}, corev1.ResourceRequirements{Requests: list("2", "128Mi")}, [4]string{"2", "2", "128Mi", "128Mi"}},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{own}, Containers: c.containers}}
		t.Run(name, func(t *testing.T) {
			assertResources(t, c.want, initcontainer.Settings{Resources: c.settings}.ResourcesFor(pod, nil))
		})
	}
}

func TestTheUserIsThatOfThePodUnlessItIsRoot(t *testing.T) {
	as := func(user int64) corev1.Container {
		return corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: &user}}
	}
	shared, group := int64(1000), int64(7)
	for name, c := range map[string]struct {
		pod        *int64
		containers []corev1.Container
		settings   initcontainer.Settings
		want       int64
	}{
		"nothing is known":     {nil, []corev1.Container{{}}, initcontainer.Settings{}, 65532},
		"root":                 {nil, []corev1.Container{as(0)}, initcontainer.Settings{}, 65532},
		"one user":             {nil, []corev1.Container{as(1000), as(1000)}, initcontainer.Settings{}, 1000},
		"the user of the pod":  {&shared, []corev1.Container{{}, as(1000)}, initcontainer.Settings{}, 1000},
		"two users":            {&shared, []corev1.Container{{}, as(2000)}, initcontainer.Settings{}, 65532},
		"of the installation":  {&shared, []corev1.Container{{}}, initcontainer.Settings{RunAsUser: 3000, RunAsGroup: &group, WritableRoot: true}, 3000},
		"our own does not say": {nil, []corev1.Container{as(1000)}, initcontainer.Settings{}, 1000},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: c.containers, SecurityContext: &corev1.PodSecurityContext{RunAsUser: c.pod},
			InitContainers: []corev1.Container{{Name: "copy-azurekeyvault-env"}}}}
		got := c.settings.SecurityContext(pod)
		assert.Equal(t, c.want, *got.RunAsUser, name)
		assert.Equal(t, c.settings.RunAsGroup, got.RunAsGroup, name)
		assert.Equal(t, !c.settings.WritableRoot, *got.ReadOnlyRootFilesystem, name)
		assert.True(t, *got.RunAsNonRoot, name)
	}
}
