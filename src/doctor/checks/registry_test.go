package checks_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/akv2k8s/akv2k8s/src/api/crd"
	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/checks"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/testkit/clustertest"
)

// stateOf returns the state of a run in the cluster.
func stateOf(t *testing.T, c *clustertest.Cluster, namespace string) *cluster.State {
	t.Helper()
	return cluster.New(cluster.Config{Client: c.Client(t), Server: c, Now: func() time.Time { return c.Now },
		Namespace: namespace, SystemNamespace: clustertest.Namespace, Version: "2.0.1"})
}

func runChecks(t *testing.T, s *cluster.State, all []doctor.Check) []doctor.Finding {
	t.Helper()
	return doctor.Run(t.Context(), all, doctor.Options{Timeout: 30 * time.Second, CheckTimeout: 30 * time.Second,
		Parallel: 8, MissingRights: s.MissingRights})
}

// complaints are the findings that are neither ok nor skipped.
func complaints(all []doctor.Finding) (found []doctor.Finding) {
	for _, f := range all {
		if f.Severity == doctor.Warning || f.Severity == doctor.Error {
			found = append(found, f)
		}
	}
	return found
}

func TestAHealthyInstallationHasNoComplaint(t *testing.T) {
	for name, values := range map[string][]string{
		"by default":      nil,
		"restarts":        {"controller.rolloutRestart.enabled=true", "controller.rolloutRestart.argoRollouts=true"},
		"one namespace":   {"watchAllNamespaces=false"},
		"init containers": {"env_injector.delivery=init"},
		"no auth service": {"env_injector.authService=false"},
		"policies": {"env_injector.networkPolicy.enabled=true", "controller.networkPolicy.enabled=true",
			"env_injector.networkPolicy.egress.enabled=true", "controller.networkPolicy.egress.enabled=true"},
		"controller alone": {"env_injector.enabled=false"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clustertest.New(t, values...)
			s := stateOf(t, c, "")
			found := runChecks(t, s, checks.Installed(s))
			assert.Empty(t, complaints(found))
			for _, f := range found {
				assert.Equal(t, doctor.OK, f.Severity, "%+v", f)
			}
			seen := map[string]bool{}
			for _, f := range found {
				seen[f.Check] = true
			}
			assert.Len(t, seen, len(checks.Installed(s)), "each check has a line")
		})
	}
}

func TestAnEmptyClusterIsReadyForAnInstallation(t *testing.T) {
	c := clustertest.Empty(t)
	s := stateOf(t, c, "")
	assert.Empty(t, complaints(runChecks(t, s, checks.Before(s))))
	require.Len(t, c.DryRuns, 1, "the pods of the chart")
	found := runChecks(t, s, checks.Installed(s))
	assert.Equal(t, doctor.Error, doctor.Worst(found))
	assert.Contains(t, fmt.Sprint(found), "akv2k8s is not installed")
}

// planted is a fault and what the doctor says about it.
type planted struct {
	plant func(t *testing.T, c *clustertest.Cluster)
	// check is the name of the check that complains, or a part of it. what, why and try are parts of its finding.
	check, what, why, try string
	severity              doctor.Severity
}

func injector(t *testing.T, c *clustertest.Cluster) *appsv1.Deployment {
	return clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-envinjector")
}

func webhook(t *testing.T, c *clustertest.Cluster) *admissionv1.MutatingWebhookConfiguration {
	return clustertest.Find[*admissionv1.MutatingWebhookConfiguration](t, c, "akv2k8s-envinjector")
}

func policy(namespace string, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "strict"}, Spec: spec}
}

func denial(text string) func(*corev1.Pod) error {
	return func(pod *corev1.Pod) error {
		for _, v := range pod.Spec.Volumes {
			if v.Name == "akv2k8s-token" {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, pod.Name, errors.New(text))
			}
		}
		return nil
	}
}

// denialOf is the event of a workload whose pod the env-injector denied some time ago.
func denialOf(c *clustertest.Cluster, kind, name string, ago time.Duration) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: kind + name}, Reason: "FailedCreate", Type: corev1.EventTypeWarning,
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: clustertest.Team, Name: name}, LastTimestamp: metav1.Time{Time: c.Now.Add(-ago)},
		Message: `Error creating: admission webhook "pods.env-injector.admission.spv.no" denied the request: akv2k8s: container "app": variable A is reserved; remove it`}
}

func faults() map[string]planted {
	return map[string]planted{
		"an old API server": {plant: func(_ *testing.T, c *clustertest.Cluster) { c.GitVersion = "v1.29.9" },
			check: "API server answers", what: "v1.29.9", try: "upgrade the cluster"},
		"a clock that is wrong": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.ServerTime = c.Now.Add(10 * time.Minute)
			for _, name := range []string{"node-1", "node-2"} {
				clustertest.Find[*coordinationv1.Lease](t, c, name).Spec.RenewTime = &metav1.MicroTime{Time: c.ServerTime}
			}
		}, check: "clocks of the API server", what: "10m0s", try: "time server", severity: doctor.Warning},
		"a node in the future": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*coordinationv1.Lease](t, c, "node-2").Spec.RenewTime = &metav1.MicroTime{Time: c.Now.Add(time.Hour)}
		}, check: "clocks of the nodes", what: "ahead of the API server's: node-2 (1h0m0s)", try: "time server"},
		"a node in the past": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*coordinationv1.Lease](t, c, "node-1").Spec.RenewTime = &metav1.MicroTime{Time: c.Now.Add(-time.Hour)}
		}, check: "clocks of the nodes", what: "behind the API server's: node-1", try: "time server"},
		"an old kubelet": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*corev1.Node](t, c, "node-1").Status.NodeInfo.KubeletVersion = "v1.28.3"
		}, check: "nodes are ready", what: "too old: node-1 (v1.28.3)", try: "upgrade these nodes"},
		"a node that is not ready": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*corev1.Node](t, c, "node-1").Status.Conditions[0].Status = corev1.ConditionUnknown
		}, check: "nodes are ready", what: "not ready: node-1", try: "kubectl describe nodes", severity: doctor.Warning},
		"no definition": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Remove[*unstructured.Unstructured](t, c, crd.Name)
		}, check: "CustomResourceDefinition", what: "does not exist", try: "helm show crds"},
		"the definition of 1.8": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*unstructured.Unstructured](t, c, crd.Name).SetAnnotations(nil)
		}, check: "CustomResourceDefinition", what: "has schema 0", try: "crds.upgrade=true"},
		"a version that is not served": {plant: func(t *testing.T, c *clustertest.Cluster) {
			u := clustertest.Find[*unstructured.Unstructured](t, c, crd.Name)
			versions, _, err := unstructured.NestedSlice(u.Object, "spec", "versions")
			require.NoError(t, err)
			for _, v := range versions {
				if v.(map[string]any)["name"] == "v2beta1" {
					v.(map[string]any)["served"] = false
				}
			}
			require.NoError(t, unstructured.SetNestedSlice(u.Object, versions, "spec", "versions"))
		}, check: "CustomResourceDefinition", what: "does not serve v2beta1", try: "crds.upgrade=true"},
		"images of two versions": {plant: func(t *testing.T, c *clustertest.Cluster) {
			injector(t, c).Spec.Template.Spec.Containers[0].Image = "ghcr.io/akv2k8s/env-injector:2.0.7"
		}, check: "chart and images", what: "different versions: 2.0.0 and 2.0.7", try: "remove tags"},
		"an image of 1.x": {plant: func(t *testing.T, c *clustertest.Cluster) {
			injector(t, c).Spec.Template.Spec.Containers[0].Image = "spvest/azure-keyvault-webhook:1.5.0"
		}, check: "chart and images", what: "is of akv2k8s 1.x", try: "remove the tag"},
		"pods that are denied": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")
			d.Status = appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure,
				Status: corev1.ConditionTrue, Message: "hostPath volumes are forbidden"}}}
		}, check: "pods of akv2k8s", what: "0 of 1 replicas", try: "a policy or quota denies the pods"},
		"an image that can't be pulled": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := injector(t, c)
			d.Status.ReadyReplicas = 0
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "x", Labels: d.Spec.Selector.MatchLabels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "env-injector", Image: "i:1",
					State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "401"}}}}}})
			clustertest.Find[*discoveryv1.EndpointSlice](t, c, "akv2k8s-envinjector-x").Endpoints = nil
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": no endpoints available for service`)
		}, check: "pods of akv2k8s", what: "0 of 2 replicas", try: "global.imageRegistry"},
		"too little memory": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := injector(t, c)
			d.Status.ReadyReplicas = 1
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "x", Labels: d.Spec.Selector.MatchLabels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "env-injector",
					LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}}}}})
		}, check: "pods of akv2k8s", what: "1 of 2 replicas", try: "resources.limits.memory", severity: doctor.Warning},
		"another version of the command": {plant: func(t *testing.T, c *clustertest.Cluster) {
			for _, name := range []string{"akv2k8s-controller", "akv2k8s-envinjector"} {
				d := clustertest.Find[*appsv1.Deployment](t, c, name)
				d.Labels["app.kubernetes.io/version"] = "2.9.0"
				d.Spec.Template.Spec.Containers[0].Image = "x/y:2.9.0"
				d.Spec.Template.Spec.Containers[0].Args = append(d.Spec.Template.Spec.Containers[0].Args, "--env-image=x/z:2.9.0")
			}
		}, check: "chart and images", what: "this command has version 2.0.1, and the installation 2.9.0", try: "use kubectl-akv2k8s 2.9.0", severity: doctor.Warning},
		"a rollout that hangs": {plant: func(t *testing.T, c *clustertest.Cluster) { injector(t, c).Status.UpdatedReplicas = 1 },
			check: "pods of akv2k8s", what: "1 of 2 pods are of the new version", try: "describe pods", severity: doctor.Warning},
		"a rollout whose new pod can't start": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")
			d.Status.Replicas = 2
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "a-ending", Labels: d.Spec.Selector.MatchLabels,
				DeletionTimestamp: &metav1.Time{Time: c.Now}, Finalizers: []string{"x/y"}}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
				{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 143}}}}}})
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "x", Labels: d.Spec.Selector.MatchLabels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "controller",
					State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 2}}}}}})
		}, check: "pods of akv2k8s", what: "pods of the earlier version run", why: "ended with exit code 2", try: "see its log", severity: doctor.Warning},
		"a webhook that calls another Service": {plant: func(t *testing.T, c *clustertest.Cluster) {
			webhook(t, c).Webhooks[0].ClientConfig.Service.Name = "other"
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": service "other" not found`)
		}, check: "API server knows the webhook", what: "does not name the Service of the env-injector", try: "helm upgrade"},
		"a role that is missing": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Remove[*rbacv1.ClusterRoleBinding](t, c, "akv2k8s-controller-sync")
		}, check: "ServiceAccounts have the rights", what: "rights: create", try: "global.rbac.create"},
		"a rule that is missing": {plant: func(t *testing.T, c *clustertest.Cluster) {
			role := clustertest.Find[*rbacv1.ClusterRole](t, c, "akv2k8s-envinjector")
			role.Rules = role.Rules[1:]
		}, check: "ServiceAccounts have the rights", what: "it lacks 1 rights: create tokenreviews.authentication.k8s.io", try: "docs/security/rbac.md"},
		"no ServiceAccount": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Remove[*corev1.ServiceAccount](t, c, "akv2k8s-controller")
		}, check: "ServiceAccounts have the rights", what: "it does not exist", try: "serviceAccount.create"},
		"a second installation": {plant: func(t *testing.T, c *clustertest.Cluster) {
			second := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller").DeepCopy()
			second.Namespace = "second"
			account := clustertest.Find[*corev1.ServiceAccount](t, c, "akv2k8s-controller").DeepCopy()
			account.Namespace = "second"
			c.Add(second, account)
			for _, object := range c.Objects {
				switch binding := object.(type) {
				case *rbacv1.ClusterRoleBinding:
					if strings.HasPrefix(binding.Name, "akv2k8s-controller") {
						binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: "ServiceAccount", Namespace: "second", Name: account.Name})
					}
				case *rbacv1.RoleBinding:
					if binding.Name == "akv2k8s-controller" {
						copied := binding.DeepCopy()
						copied.Namespace, copied.Subjects[0].Namespace = "second", "second"
						c.Add(copied)
					}
				case *rbacv1.Role:
					if binding.Name == "akv2k8s-controller" {
						copied := binding.DeepCopy()
						copied.Namespace = "second"
						c.Add(copied)
					}
				}
			}
		}, check: "one installation", what: "akv2k8s/akv2k8s, second/akv2k8s", try: "OBJECT_LABELS"},
		"a webhook without its env-injector": {plant: func(t *testing.T, c *clustertest.Cluster) {
			left := webhook(t, c).DeepCopy()
			left.Name = "a-old"
			left.Webhooks[0].ClientConfig.Service.Namespace = "gone"
			c.Add(left)
		}, check: "nothing is left", what: "gone/akv2k8s-envinjector", try: "delete it"},
		"1.8 next to it": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "old", Name: "old-controller",
				Labels: map[string]string{"app.kubernetes.io/component": "old-controller"}},
				Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
					{Image: "spvest/azure-keyvault-controller:1.8.0"}}}}},
				Status: appsv1.DeploymentStatus{ReadyReplicas: 1, UpdatedReplicas: 1}})
		}, check: "nothing is left", what: "1.8 still runs", try: "uninstall"},
		"one replica": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := injector(t, c)
			d.Spec.Replicas, d.Status.Replicas = ptr.To[int32](1), 1
		}, check: "replicas and PodDisruptionBudgets", what: "one replica", try: "replicaCount", severity: doctor.Warning},
		"a budget that blocks drains": {plant: func(t *testing.T, c *clustertest.Cluster) {
			b := clustertest.Find[*policyv1.PodDisruptionBudget](t, c, "akv2k8s-envinjector")
			b.Spec.MaxUnavailable, b.Spec.MinAvailable = nil, ptr.To(intstr.FromString("100%"))
		}, check: "replicas and PodDisruptionBudgets", what: "never allows to evict one of the 2 pods", try: "maxUnavailable", severity: doctor.Warning},
		"no webhook configuration": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Remove[*admissionv1.MutatingWebhookConfiguration](t, c, "akv2k8s-envinjector")
			c.IgnoresWebhook = true
		}, check: "API server knows the webhook", what: "does not exist", try: "helm upgrade"},
		"another label": {plant: func(t *testing.T, c *clustertest.Cluster) {
			webhook(t, c).Webhooks[0].NamespaceSelector.MatchLabels = map[string]string{"mine": "yes"}
			c.IgnoresWebhook = true
		}, check: "API server knows the webhook", what: "namespaceSelector is not the label azure-key-vault-env-injection=enabled", try: "helm upgrade"},
		"failures are ignored": {plant: func(t *testing.T, c *clustertest.Cluster) {
			webhook(t, c).Webhooks[0].FailurePolicy = ptr.To(admissionv1.Ignore)
		}, check: "API server knows the webhook", what: "failurePolicy is Ignore", try: "Fail", severity: doctor.Warning},
		"no Service": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Remove[*corev1.Service](t, c, "akv2k8s-envinjector")
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": service "akv2k8s-envinjector" not found`)
		}, check: "Service of the env-injector", what: "does not exist", try: "helm upgrade"},
		"no endpoints": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*discoveryv1.EndpointSlice](t, c, "akv2k8s-envinjector-x").Endpoints = nil
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": no endpoints available for service`)
		}, check: "Service of the env-injector", what: "no endpoints", try: "describe deployment"},
		"another port": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*corev1.Service](t, c, "akv2k8s-envinjector").Spec.Ports[0].Port = 8443
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": no service port 443 found for service "akv2k8s-envinjector"`)
		}, check: "Service of the env-injector", what: "does not have port 443, which the API server calls", try: "helm upgrade"},
		"another target port": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*corev1.Service](t, c, "akv2k8s-envinjector").Spec.Ports[0].TargetPort = intstr.FromInt32(9999)
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": x509: it is another server`)
		}, check: "Service of the env-injector", what: "its port 443 leads to port 9999", try: "helm upgrade"},
		"a Deployment whose pods are denied": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Add(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "app-1"}}, denialOf(c, "ReplicaSet", "app-1", time.Minute))
		}, check: "workloads can create their pods", what: `the env-injector denies its pods: container "app": variable A is reserved`, try: "remove it"},
		"a setting with which the controller does not start": {plant: func(t *testing.T, c *clustertest.Cluster) {
			d := clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller")
			d.Status.ReadyReplicas = 0
			c.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "x", Labels: d.Spec.Selector.MatchLabels},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "controller",
					LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1,
						Message: "{\"level\":\"info\"}\ncontroller: keyVaultAuth \"kerberos\" is not known; use environment\n"}}}}}})
		}, check: "pods of akv2k8s", what: "0 of 1 replicas", why: `ended with exit code 1: keyVaultAuth "kerberos" is not known`, try: "use environment"},
		"an expired CA": {plant: func(t *testing.T, c *clustertest.Cluster) {
			expired := clustertest.NewCA(t, c.Now.Add(-time.Hour), c.Now.Add(-time.Minute))
			webhook(t, c).Webhooks[0].ClientConfig.CABundle = expired
			clustertest.Find[*corev1.Secret](t, c, "akv2k8s-envinjector-serving").Data["ca.crt"] = expired
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": x509: certificate has expired`)
		}, check: "CA bundle of the webhook is in force", what: "its CA expired on 2026-11-29", try: "the env-injector writes it"},
		"no CA": {plant: func(t *testing.T, c *clustertest.Cluster) {
			webhook(t, c).Webhooks[0].ClientConfig.CABundle = nil
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": x509: unknown authority`)
		}, check: "CA bundle of the webhook is in force", what: "no certificate", try: "the env-injector writes it"},
		"the CA of another": {plant: func(t *testing.T, c *clustertest.Cluster) {
			webhook(t, c).Webhooks[0].ClientConfig.CABundle = clustertest.NewCA(t, c.Now.Add(-time.Hour), c.Now.Add(60*24*time.Hour))
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": x509: unknown authority`)
		}, check: "CA bundle matches", what: "does not verify", try: "the env-injector writes it"},
		"webhooks that undo": {plant: func(t *testing.T, c *clustertest.Cluster) {
			other := webhook(t, c).DeepCopy()
			other.Name, other.Webhooks[0].Name = "z-mesh", "mesh.example"
			c.Add(other)
			webhook(t, c).Webhooks[0].ReinvocationPolicy = ptr.To(admissionv1.NeverReinvocationPolicy)
		}, check: "sees what later webhooks change", what: "z-mesh", try: "helm upgrade", severity: doctor.Warning},
		"an API server that can't reach the webhook": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": context deadline exceeded`)
		}, check: "pods are injected", what: "can't reach the env-injector in time", try: "firewall"},
		"a webhook that is not called": {plant: func(_ *testing.T, c *clustertest.Cluster) { c.IgnoresWebhook = true },
			check: "pods are injected", what: "accepted, but not injected", try: "compare the labels"},
		"a policy that denies injected pods": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = denial("ValidatingAdmissionPolicy 'images' with binding 'images' denied request: registry")
		}, check: "pods are injected", what: "a ValidatingAdmissionPolicy denies", try: "docs/how-to/pod-security.md"},
		"a webhook that denies injected pods": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = denial(`admission webhook "validate.kyverno.svc-fail" denied the request`)
		}, check: "pods are injected", what: "another admission webhook denies", try: "docs/how-to/pod-security.md"},
		"a Pod Security Standard": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = denial(`violates PodSecurity "restricted:latest"`)
		}, check: "pods are injected", what: "Pod Security Standard", try: "securityContext"},
		"a LimitRange": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = denial("maximum memory usage per Container is 1Mi, but limit is 32Mi")
		}, check: "pods are injected", what: "a LimitRange denies", try: "env_injector.initContainer"},
		"a quota for injected pods": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			c.Admit = denial("exceeded quota: compute, requested: limits.cpu=1, used: limits.cpu=4, limited: limits.cpu=4")
		}, check: "pods are injected", what: "a ResourceQuota denies", try: "raise the quota"},
		"a quota that is used up": {plant: func(_ *testing.T, c *clustertest.Cluster) {
			list := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("5")}
			c.Add(&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Team, Name: "q"},
				Status: corev1.ResourceQuotaStatus{Hard: list, Used: list}})
		}, check: "ResourceQuota", what: "pods (5 of 5)", try: "raise the quota", severity: doctor.Warning},
		"image volumes on an old node": {plant: func(t *testing.T, c *clustertest.Cluster) {
			clustertest.Find[*corev1.Node](t, c, "node-1").Status.NodeInfo.KubeletVersion = "v1.34.0"
			container := cluster.Container(injector(t, c))
			container.Args = append(container.Args, "--delivery=image")
		}, check: "delivered to pods", what: "kubelet is v1.34.0", try: "env_injector.delivery to auto"},
		"a policy before the webhook": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(policy(clustertest.Namespace, networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
					{NamespaceSelector: &metav1.LabelSelector{}}}}}}))
			c.CallWebhook = errors.New(`failed calling webhook "pods.env-injector.admission.spv.no": i/o timeout`)
		}, check: "NetworkPolicies allow", what: "API server to the webhook", try: "from every address"},
		"a policy before the auth service": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(policy(clustertest.Namespace, networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromString("tls"))}}}}}))
		}, check: "NetworkPolicies allow", what: "namespace team to the auth service", try: "auth-tls"},
		"a policy before Azure": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(policy(clustertest.Namespace, networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: clustertest.Find[*appsv1.Deployment](t, c, "akv2k8s-controller").Spec.Selector.MatchLabels},
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
				Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{
					{Port: ptr.To(intstr.FromInt32(53))}}}}}))
		}, check: "NetworkPolicies allow", what: "connections to Azure, port 443", try: "docs/how-to/egress.md"},
		"a policy in the pods' namespace": {plant: func(t *testing.T, c *clustertest.Cluster) {
			c.Add(policy(clustertest.Team, networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}}))
		}, check: "NetworkPolicies allow", what: "deny the connections of its pods to the auth service", try: "allow egress to namespace akv2k8s, port"},
		"a resource with an error": {plant: func(t *testing.T, c *clustertest.Cluster) {
			r := clustertest.Find[*v2beta1.AzureKeyVaultSecret](t, c, "database")
			r.Status.Conditions[0] = metav1.Condition{Type: v2beta1.ConditionReady, Status: metav1.ConditionFalse,
				Reason: "AccessDenied", Message: "reading secret \"x\": access is denied (403); grant the role R"}
		}, check: "AzureKeyVaultSecrets are in sync", what: "AccessDenied: reading secret", try: "grant the role R"},
		"two controllers": {plant: func(t *testing.T, c *clustertest.Cluster) {
			r := clustertest.Find[*v2beta1.AzureKeyVaultSecret](t, c, "database")
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: v2beta1.ConditionContested,
				Status: metav1.ConditionTrue, Reason: "Contested", Message: "two installations; uninstall one"})
		}, check: "AzureKeyVaultSecrets are in sync", what: "two installations", try: "uninstall one", severity: doctor.Warning},
		"a resource that nobody reads": {plant: func(t *testing.T, c *clustertest.Cluster) {
			r := clustertest.Find[*v2beta1.AzureKeyVaultSecret](t, c, "database")
			r.Status.Conditions, r.Spec.Output = nil, &v2beta1.AzureKeyVaultOutput{}
			r.CreationTimestamp = metav1.Time{Time: c.Now.Add(-time.Hour)}
		}, check: "AzureKeyVaultSecrets are in sync", what: "no controller has read it", try: "OBJECT_LABELS"},
	}
}

func TestEachPlantedFaultIsFoundAndNothingElse(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait until the webhook can be called
			c := clustertest.New(t)
			fault.plant(t, c)
			s := stateOf(t, c, "")
			found := complaints(runChecks(t, s, checks.Installed(s)))
			require.Len(t, found, 1, "%+v", found)
			assert.Contains(t, found[0].Check, fault.check)
			assert.Contains(t, found[0].What, fault.what)
			assert.Contains(t, found[0].Why, fault.why)
			assert.Contains(t, found[0].Try, fault.try)
			severity := fault.severity
			if severity == "" {
				severity = doctor.Error
			}
			assert.Equal(t, severity, found[0].Severity)
		})
	}
}

func TestEveryCheckHasAFaultThatItFinds(t *testing.T) {
	c := clustertest.New(t)
	s := stateOf(t, c, "")
	for _, check := range checks.Installed(s) {
		found := false
		for _, fault := range faults() {
			found = found || strings.Contains(check.Name, fault.check)
		}
		assert.True(t, found, "no test plants a fault for %q", check.Name)
	}
}
