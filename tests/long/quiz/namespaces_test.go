//go:build cluster

package quiz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// namespaceFaults are of the namespaces of injected pods, and of policies.
func namespaceFaults(t *testing.T, q *quiz) []fault {
	t.Helper()
	h := home{q, "tenant"}
	ctx := t.Context()
	require.NoError(t, h.create(ctx, nil))
	t.Cleanup(func() { require.NoError(t, h.remove(context.WithoutCancel(ctx))) })
	both := [][]string{{"doctor"}, {"doctor", "-n", h.name}}
	in := "namespace/" + h.name
	quota, limit := corev1.SchemeGroupVersion.WithKind("ResourceQuota"), corev1.SchemeGroupVersion.WithKind("LimitRange")
	network := networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy")
	label := "azure-key-vault-env-injection"
	all := []fault{
		{name: "the label of a namespace is missing", says: []string{in, "lacks the label " + label + "=enabled"}, next: "kubectl label namespace " + h.name, severity: "warning",
			commands: both[1:],
			plant:    func(ctx context.Context) error { return q.label(ctx, h.name, label, nil) },
			undo:     func(ctx context.Context) error { return q.label(ctx, h.name, label, "enabled") }},
		q.added(fault{name: "a quota for pods that is used up", says: []string{in, "exceeded quota"}, next: "raise the quota", severity: "warning", also: []string{"pods ("}, commands: both}, h.name,
			"{apiVersion: v1, kind: ResourceQuota, metadata: {name: quiz}, spec: {hard: {pods: 0}}}", quota, "quiz").then(h.quotaInForce),
		q.added(fault{name: "a quota for memory that is used up", says: []string{in, "exceeded quota"}, next: "raise the quota", severity: "warning", also: []string{"limits.memory ("}, commands: both}, h.name,
			"{apiVersion: v1, kind: ResourceQuota, metadata: {name: quiz}, spec: {hard: {limits.memory: 1Mi}}}", quota, "quiz").then(h.quotaInForce),
		q.added(fault{name: "a LimitRange", says: []string{in, "memory usage per Container"}, next: "correct what the message names", severity: "warning", commands: both}, h.name,
			"{apiVersion: v1, kind: LimitRange, metadata: {name: quiz}, spec: {limits: [{type: Container, max: {memory: 8Mi}}]}}", limit, "quiz").then(h.rejects("per Container")),
		q.admissionPolicy(fault{name: "a policy against the volumes of akv2k8s", says: []string{in, "a ValidatingAdmissionPolicy denies injected pods"}, next: "docs/how-to/pod-security.md", commands: both}, h,
			"!has(object.spec.volumes) || object.spec.volumes.all(v, v.name != 'akv2k8s-token')"),
		q.admissionPolicy(fault{name: "a policy against all pods", says: []string{in, "ValidatingAdmissionPolicy"}, next: "correct what the message names", severity: "warning", commands: both}, h, "false"),
		q.added(fault{name: "a NetworkPolicy before the webhook", says: []string{"NetworkPolicies", "API server to the webhook"}, next: "from every address", commands: both[:1]}, system,
			policy("app.kubernetes.io/component: akv2k8s-webhook", "policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]"), network, "quiz"),
		q.added(fault{name: "a NetworkPolicy before the auth service", says: []string{"to the auth service"}, next: "auth-tls", commands: both}, system,
			policy("app.kubernetes.io/component: akv2k8s-webhook", "policyTypes: [Ingress], ingress: [{ports: [{port: tls}]}]"), network, "quiz"),
		q.added(fault{name: "a NetworkPolicy between the controller and Azure", says: []string{"connections to Azure"}, next: "docs/how-to/egress.md", commands: both[:1]}, system,
			policy("app.kubernetes.io/component: akv2k8s-controller", "policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]"), network, "quiz"),
		q.added(fault{name: "a NetworkPolicy of the pods' namespace", says: []string{"deny the connections of its pods to the auth service"}, next: "allow egress", commands: both}, h.name,
			policy("", "policyTypes: [Egress]"), network, "quiz"),
	}
	q.stage.Say("NetworkPolicies are planted, although the network of the local cluster does not enforce them: the doctor reads them")
	return all
}

func policy(label, rest string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: quiz}, spec: {podSelector: {matchLabels: {" + label + "}}, " + rest + "}}"
}

// quotaInForce waits until the controller of quotas has counted.
func (h home) quotaInForce(ctx context.Context) error {
	return stage.Await(ctx, patience, "the quota", func(ctx context.Context) error {
		var quota corev1.ResourceQuota
		if err := h.stage.Client.Get(ctx, client.ObjectKey{Namespace: h.name, Name: "quiz"}, &quota); err != nil {
			return err
		}
		if len(quota.Status.Hard) == 0 {
			return fmt.Errorf("it is not counted")
		}
		return nil
	})
}

// rejects waits until the API server rejects pods with a message.
func (h home) rejects(message string) func(context.Context) error {
	return func(ctx context.Context) error {
		return stage.Await(ctx, patience, "a rejection", func(ctx context.Context) error {
			pod := h.pod("probe", "DB=db@azurekeyvault")
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
			if err := h.stage.Client.Create(ctx, pod, client.DryRunAll); err == nil || !strings.Contains(err.Error(), message) {
				return fmt.Errorf("the answer is: %w", cmp.Or(err, errors.New("accepted")))
			}
			return nil
		})
	}
}

// admissionPolicy plants a ValidatingAdmissionPolicy for the pods of the namespace.
func (q *quiz) admissionPolicy(f fault, h home, expression string) fault {
	f.plant = func(ctx context.Context) error {
		if err := q.stage.Apply(ctx, "", fmt.Sprintf(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: quiz}, spec: {failurePolicy: Fail,
			matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}, validations: [{expression: %q, message: "of the quiz"}]}}`, expression)); err != nil {
			return err
		}
		if err := q.stage.Apply(ctx, "", `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: quiz}, spec: {policyName: quiz,
			validationActions: [Deny], matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `+h.name+`}}}}}`); err != nil {
			return err
		}
		return h.rejects("of the quiz")(ctx)
	}
	f.undo = func(ctx context.Context) error {
		for _, kind := range []string{"ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"} {
			if err := q.stage.Client.Delete(ctx, object(admissionv1.SchemeGroupVersion.WithKind(kind), "", "quiz")); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}
