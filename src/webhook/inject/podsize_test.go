package inject_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// with is a pod with one container that has these variables.
func with(env ...corev1.EnvVar) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Command: []string{"app"}, Env: env}}}}
}

// fits mutates the pod and checks its size.
func fits(t *testing.T, pod *corev1.Pod, sources inject.Sources, s inject.Settings) ([]string, error) {
	t.Helper()
	plan, err := inject.Decide(pod, sources)
	require.NoError(t, err)
	for i := range plan.Targets {
		plan.Targets[i].Entrypoint = []string{"/app"}
	}
	return inject.CheckSize(inject.Mutate(pod, plan, s))
}

func TestWhatTheRuntimeWouldNotStartIsRefused(t *testing.T) {
	reference := corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}
	source := func(keys int) inject.Sources {
		data := map[string]string{}
		for i := range keys {
			data[fmt.Sprintf("KEY_%05d", i)] = "name@azurekeyvault" // 33 bytes in the record, with its quotes and comma
		}
		return inject.Sources{{Kind: inject.KindConfigMap, Name: "many"}: inject.NewSource(data)}
	}
	from := func() *corev1.Pod {
		pod := with(reference)
		pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "many"}}}}
		return pod
	}
	composed := func(count int) *corev1.Pod {
		pod := with(reference)
		for i := range count {
			pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("COMPOSED_%05d", i), Value: "$(A)"})
		}
		return pod
	}
	authorities := withoutAuthService()
	authorities.ExtraCAs = strings.Repeat("x", 128<<10)
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		sources inject.Sources
		s       inject.Settings
		says    string
	}{
		"a record of references that fits": {from(), source(3900), settings(), ""},
		"one that does not":                {from(), source(4000), settings(), `container "app": ENV_INJECTOR_REFERENCES, which the env-injector adds, would be longer than 128 KiB, the limit of Linux for one variable; write some`},
		"composed variables that fit":      {composed(7000), nil, settings(), ""},
		"too many":                         {composed(8000), nil, settings(), "ENV_INJECTOR_EXPAND"},
		"a bundle of authorities":          {with(reference), nil, authorities, "global.extraCACertificates"},
	} {
		t.Run(name, func(t *testing.T) {
			warnings, err := fits(t, c.pod, c.sources, c.s)
			assert.Empty(t, warnings)
			if c.says == "" {
				assert.NoError(t, err)
				return
			}
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestAPodThatMayBeTooLargeToBeStoredIsWarnedOf(t *testing.T) {
	pod := with(corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"})
	pod.ManagedFields = []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(strings.Repeat("x", 2<<20))}}
	for i := range 15 {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("V%d", i), Value: strings.Repeat("x", 100<<10)})
	}
	warnings, err := fits(t, pod, nil, settings())
	require.NoError(t, err)
	assert.Empty(t, warnings, "what the API server can leave out does not count")
	assert.Len(t, pod.ManagedFields, 1)
	pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "MORE", Value: strings.Repeat("x", 30<<10)})
	warnings, err = fits(t, pod, nil, settings())
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "etcd stores 1.5 MiB")
}

// TestVariablesThatGrowWithEachOtherAreWorkedOutInNoTime has a pod whose variables would expand to an exabyte, and other
// pods with long texts. A tenant could stop all replicas with them.
func TestVariablesThatGrowWithEachOtherAreWorkedOutInNoTime(t *testing.T) {
	doubled := []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}, {Name: "D0", Value: strings.Repeat("0123456789", 10)}}
	for i := range 54 {
		doubled = append(doubled, corev1.EnvVar{Name: fmt.Sprintf("D%d", i+1), Value: fmt.Sprintf("$(D%d)$(D%d)", i, i)})
	}
	annotated := with(corev1.EnvVar{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['large']"}}},
		corev1.EnvVar{Name: "B", Value: strings.Repeat("$(A)", 100_000)}, corev1.EnvVar{Name: "C", Value: "a@azurekeyvault"})
	annotated.Annotations = map[string]string{"large": strings.Repeat("x", 200<<10)}
	unknown := []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}, {Name: "B", Value: strings.Repeat("$(X)", 100_000)}}
	for i := range 30_000 {
		unknown = append(unknown, corev1.EnvVar{Name: fmt.Sprintf("%d", i), Value: "x"})
	}
	for name, pod := range map[string]*corev1.Pod{"doubled": with(doubled...), "of a large annotation": annotated, "of what is nowhere": with(unknown...)} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			plan, err := inject.Decide(pod, nil)
			require.NoError(t, err)
			assert.Len(t, plan.Targets, 1)
			assert.Less(t, time.Since(started), 2*time.Second)
		})
	}
	// A text that is shortened is still recognized as a reference or not.
	for text, refused := range map[string]bool{"$(D54)": false, "$(D54)@azurekeyvault": true, "x@azurekeyvault?$(D54)": true, "$(D54)@azurekeyvaults": false} {
		_, err := inject.Decide(with(append(doubled, corev1.EnvVar{Name: "OF", Value: text})...), nil)
		assert.Equal(t, refused, err != nil, text)
	}
}

// worked is the mean processor time for one pod, of as many runs as the resolution of the clock requires.
func worked(t *testing.T, pod *corev1.Pod) time.Duration {
	t.Helper()
	used := func() time.Duration {
		var usage syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	var total time.Duration
	runs := 0
	for ; runs < 4 || total < 400*time.Millisecond; runs++ {
		fresh := pod.DeepCopy() // Mutate must get a pod that was not mutated
		started := used()
		plan, err := inject.Decide(fresh, nil)
		require.NoError(t, err)
		inject.Mutate(fresh, plan, settings())
		total += used() - started
	}
	return total / time.Duration(runs)
}

// TestTheWorkGrowsWithTheNumberOfVariablesAndContainers compares a pod with one of four times the size. A quadratic
// algorithm takes 16 times as long: an earlier one took 7 s for 40,000 variables, and 1.4 s for 8,000 containers. Both
// take a tenth of a second now.
func TestTheWorkGrowsWithTheNumberOfVariablesAndContainers(t *testing.T) {
	reference := corev1.EnvVar{Name: "A", Value: "a@azurekeyvault"}
	variables := func(count int) *corev1.Pod {
		env := []corev1.EnvVar{reference}
		for i := range count {
			env = append(env, corev1.EnvVar{Name: fmt.Sprintf("V%d", i), Value: "$(A)"})
		}
		return with(env...)
	}
	containers := func(count int) *corev1.Pod {
		pod := &corev1.Pod{}
		for i := range count {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Command: []string{"app"}, Env: []corev1.EnvVar{reference}})
		}
		return pod
	}
	for name, c := range map[string]struct {
		make  func(int) *corev1.Pod
		count int
	}{"variables": {variables, 40_000}, "containers": {containers, 8_000}} {
		few, many := worked(t, c.make(c.count/4)), worked(t, c.make(c.count))
		t.Logf("%s: %s for %d, %s for %d", name, few, c.count/4, many, c.count)
		assert.Less(t, many, 10*few, name)
	}
}

func TestAnAnswerThatNobodyCouldStoreIsNotMade(t *testing.T) {
	pod := &corev1.Pod{}
	for i := range 500 {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Command: []string{"app"}, Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}})
	}
	s := withoutAuthService()
	s.ExtraCAs = strings.Repeat("x", 100<<10)
	_, err := fits(t, pod, nil, s)
	require.ErrorContains(t, err, "and the limit of the API server is 3145728")
	_, err = fits(t, pod, nil, settings())
	require.NoError(t, err)
}
