package namespaces

import (
	"context"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// testPod is a pod that every Pod Security Standard accepts. Its variable has a reference, so the webhook injects it
// unless the label says otherwise. It is only created as a dry run: no node sees it.
func testPod(namespace, image string, injected bool) *corev1.Pod {
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"),
		corev1.ResourceMemory: resource.MustParse("16Mi")}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "akv2k8s-doctor-"},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "doctor", Image: image, Command: []string{"/bin/true"},
				// ResourceQuotas can require them.
				Resources: corev1.ResourceRequirements{Requests: small, Limits: small},
				Env:       []corev1.EnvVar{{Name: "AKV2K8S_DOCTOR", Value: "akv2k8s-doctor@azurekeyvault"}},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false),
					ReadOnlyRootFilesystem: ptr.To(true),
					Capabilities:           &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		}}
	if !injected {
		pod.Labels = map[string]string{wire.LabelInject: "false"}
	}
	return pod
}

// errSlowAdmission is the error of a dry run that did not end before the check has to.
var errSlowAdmission = errors.New("the API server did not end the admission of a pod in time")

// reserve is the time that a check needs for its findings after a dry run.
const reserve = 500 * time.Millisecond

// createDry creates the pod as a dry run, with all admission, and returns it as it would be. It gives up before the
// check's own time is over, so that the check can say what takes so long.
func createDry(ctx context.Context, c client.Client, pod *corev1.Pod) (*corev1.Pod, error) {
	limited := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	err := c.Create(limited, pod, client.DryRunAll)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return pod, errSlowAdmission
	}
	return pod, err
}

// isInjected reports whether the webhook changed the pod.
func isInjected(pod *corev1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.Name == wire.VolumeInjector || v.Name == wire.VolumeToken {
			return true
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name == wire.InitContainer {
			return true
		}
	}
	return false
}

// hasAny reports whether the text has one of the parts, in any letter case.
func hasAny(text string, parts ...string) bool {
	text = strings.ToLower(text)
	for _, part := range parts {
		if strings.Contains(text, strings.ToLower(part)) {
			return true
		}
	}
	return false
}
