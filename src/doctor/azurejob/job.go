package azurejob

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// subcommand is the one of the controller that the Job runs.
const subcommand = "check-azure"

// labelComponent is in every selector of the controller's pods.
const labelComponent = "app.kubernetes.io/component"

// Scope selects the resources that are checked. The zero Scope selects all that the controller syncs.
type Scope struct {
	// Namespace restricts them to a namespace, and Resource to one name in it.
	Namespace, Resource string
}

// newJob returns the Job for a controller. policies are those of its namespace, and known are the flags of the
// subcommand.
func newJob(d *appsv1.Deployment, policies []networkingv1.NetworkPolicy, known *pflag.FlagSet,
	scope Scope) *batchv1.Job {
	template := *d.Spec.Template.DeepCopy()
	main := *cluster.Container(d).DeepCopy()
	main.Args = append([]string{subcommand}, keepKnownFlags(main.Args, known)...)
	if scope.Namespace != "" {
		main.Args = append(main.Args, "--namespace="+scope.Namespace)
	}
	if scope.Resource != "" {
		main.Args = append(main.Args, "--resource="+scope.Resource)
	}
	main.LivenessProbe, main.ReadinessProbe, main.StartupProbe, main.Lifecycle, main.Ports = nil, nil, nil, nil, nil
	template.Spec.Containers, template.Spec.InitContainers = []corev1.Container{main}, nil
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	// Rules that keep replicas apart have no meaning for one pod.
	template.Spec.TopologySpreadConstraints = nil
	if a := template.Spec.Affinity; a != nil {
		a.PodAffinity, a.PodAntiAffinity = nil, nil
	}
	template.Labels = podLabels(template.Labels, policies)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, GenerateName: "akv2k8s-doctor-",
			Labels: map[string]string{labelComponent: "akv2k8s-doctor"}},
		Spec: batchv1.JobSpec{
			Template:                template,
			BackoffLimit:            ptr.To[int32](0),
			ActiveDeadlineSeconds:   ptr.To(int64(limits.DoctorAzureTime.Seconds())),
			TTLSecondsAfterFinished: ptr.To(int32(limits.DoctorAzureKept.Seconds())),
		}}
}

// podLabels returns the labels of the Job's pod. Those that select the controller's pods are kept only where a
// NetworkPolicy needs them, because Services and PodDisruptionBudgets select by them, too.
func podLabels(own map[string]string, policies []networkingv1.NetworkPolicy) map[string]string {
	all := maps.Clone(own)
	delete(all, "pod-template-hash")
	if slices.ContainsFunc(policies, func(p networkingv1.NetworkPolicy) bool {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		return err == nil && !selector.Empty() && selector.Matches(labels.Set(own))
	}) {
		return all
	}
	all[labelComponent] = "akv2k8s-doctor"
	return all
}

// keepKnownFlags returns the flags of the controller that the subcommand has, too.
func keepKnownFlags(args []string, known *pflag.FlagSet) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			continue // the value of a flag that was left out
		}
		flag := known.Lookup(name)
		if flag == nil {
			continue
		}
		kept = append(kept, args[i])
		if !hasValue && flag.NoOptDefVal == "" && i+1 < len(args) {
			i++
			kept = append(kept, args[i])
		}
	}
	return kept
}
