package platform

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

// OwnPods checks that policies allow the pods of the chart with default values, which read a file of the node as root.
// It creates such a pod as a dry run.
func OwnPods(s *cluster.State) doctor.Check {
	createPods := doctor.Right{Verb: "create", Resource: "pods", Namespace: s.SystemNamespace}
	return doctor.Check{Category: preCategory, Name: "admission policies allow the pods of akv2k8s",
		Needs: []doctor.Right{createPods},
		Run: func(ctx context.Context) []doctor.Finding {
			err := s.Client.Create(ctx, controllerPod(s.SystemNamespace), client.DryRunAll)
			switch {
			case err == nil:
				return nil
			case apierrors.IsNotFound(err):
				return doctor.Passed("the namespace " + s.SystemNamespace +
					" does not exist yet, so its policies were not checked")
			case strings.Contains(err.Error(), "exceeded quota"):
				return []doctor.Finding{{Severity: doctor.Error, What: "a ResourceQuota denies pods in namespace " +
					s.SystemNamespace, Why: cluster.ShortMessage(err.Error()), Try: "raise the quota"}}
			}
			return []doctor.Finding{{Severity: doctor.Error, What: "pods that read the node's azure.json are denied " +
				"in namespace " + s.SystemNamespace, Why: cluster.ShortMessage(err.Error()),
				Try: "install with global.keyVaultAuth=environment and credentials of your own, or allow this pod: " +
					"see examples/pod-security"}}
		}}
}

// controllerPod is a pod as the chart has it with default values.
func controllerPod(namespace string) *corev1.Pod {
	file := corev1.HostPathFile
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "akv2k8s-doctor-"},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0), RunAsNonRoot: ptr.To(false),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "controller", Image: "ghcr.io/akv2k8s/controller",
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false),
					ReadOnlyRootFilesystem: ptr.To(true),
					Capabilities:           &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
				VolumeMounts: []corev1.VolumeMount{{Name: "azure-config", MountPath: "/etc/akv2k8s/azure.json",
					ReadOnly: true}}}},
			Volumes: []corev1.Volume{{Name: "azure-config", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/etc/kubernetes/azure.json", Type: &file}}}},
		}}
}
