//go:build cluster

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// deliveries are those that the cluster supports.
func deliveries(t *testing.T) []string {
	t.Helper()
	if !mountsImages(t) {
		t.Log("not tried: image volumes, which need Kubernetes 1.36; use KUBERNETES=1.37")
		return []string{"init"}
	}
	return []string{"init", "image"}
}

// allDeliveries are those that the cluster supports, with env files.
func allDeliveries(t *testing.T) []string {
	t.Helper()
	if !readsEnvFiles(t) {
		t.Log("not tried: env files, which need Kubernetes 1.35; use KUBERNETES=1.37")
		return deliveries(t)
	}
	return append(deliveries(t), "envfile")
}

// mountsImages reports whether the API server and the nodes mount images as volumes.
func mountsImages(t *testing.T) bool {
	t.Helper()
	return isAtLeast(t, "1.36.0")
}

// readsEnvFiles reports whether the API server and the nodes support env files.
func readsEnvFiles(t *testing.T) bool {
	t.Helper()
	return isAtLeast(t, "1.35.0")
}

func isAtLeast(t *testing.T, first string) bool {
	t.Helper()
	info, err := s.Kube.Discovery().ServerVersion()
	require.NoError(t, err)
	return version.MustParseGeneric(info.GitVersion).AtLeast(version.MustParseGeneric(first))
}

// by chooses the delivery of the pod.
func by(delivery string, p *corev1.Pod) *corev1.Pod {
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[wire.AnnotationDelivery] = delivery
	return p
}

// isInjected reports whether the pod was injected.
func isInjected(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == wire.VolumeInjector })
}

// isByImage reports whether the pod has the injector in an image volume, and checks that it has no init container then.
func isByImage(t *testing.T, p *corev1.Pod) bool {
	t.Helper()
	for _, volume := range p.Spec.Volumes {
		if volume.Name == wire.VolumeInjector && volume.Image != nil {
			for _, c := range p.Spec.InitContainers {
				assert.NotEqual(t, initContainer, c.Name)
			}
			return true
		}
	}
	return false
}

func imageVolumes(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	env := map[string]string{"DB": "db@azurekeyvault"}
	show := []string{"sh", "-c", hasValue + " && echo right && grep ' /azure-keyvault ' /proc/mounts && ! touch /azure-keyvault/new 2>/dev/null && exit 7"}
	if !mountsImages(t) {
		err := s.Client.Create(t.Context(), by("image", tm.pod("refused", env, show...)))
		require.ErrorContains(t, err, "demands an image volume, which can't work for this pod: the API server is v1.")
		p := tm.create(by("auto", tm.pod("auto", env, show...)))
		assert.False(t, isByImage(t, p))
		code, log := tm.ended("auto")
		assert.EqualValues(t, 7, code, log)
		t.Log("not tried: pods with image volumes, which need Kubernetes 1.36; use KUBERNETES=1.37")
		return
	}
	yes := true
	direct := ownCredentials()
	maps.Copy(direct, env)
	pods := map[string]*corev1.Pod{
		"demanded":  by("image", tm.pod("demanded", env, show...)),
		"auto":      by("auto", tm.pod("auto", env, show...)),
		"read-only": by("image", tm.pod("read-only", env, show...)),
		// The injector that reads vaults itself is another program of the same image.
		"direct": by("image", tm.pod("direct", direct, show...)),
	}
	pods["read-only"].Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = &yes
	for name, p := range pods {
		assert.True(t, isByImage(t, tm.create(p)), name)
	}
	for name := range pods {
		code, log := tm.ended(name)
		assert.EqualValues(t, 7, code, "%s: %s", name, log)
		assert.Contains(t, log, "right", name)
		// The injector has run from the mount, whatever its options are; this shows them.
		assert.Regexp(t, `/azure-keyvault \S+ ro\b`, log, name)
		assert.NotContains(t, log, "noexec", name)
	}
	for text, says := range map[string]string{"env": "write auto, image, init or envfile", "Images": "write auto, image, init or envfile"} {
		err := s.Client.Create(t.Context(), by(text, tm.pod("odd", env, "true")))
		assert.ErrorContains(t, err, says)
	}
	assert.Contains(t, metricsOf(t, "akv2k8s-webhook"), `akv2k8s_pod_deliveries_total{delivery="image",reason="supported"}`)

	// A reference that can't be resolved is said where the pod's owner looks: in the log, and in the termination message.
	tm.create(by("image", tm.pod("missing", map[string]string{"DB": "nothing@azurekeyvault", "ENV_INJECTOR_TIMEOUT": "1s"}, "true")))
	code, log := tm.ended("missing")
	assert.NotZero(t, code)
	assert.Contains(t, log, "nothing")

	// The kubelet says in the pod's events what it can't mount.
	broken := by("init", tm.pod("broken", env, "true"))
	broken.Spec.Volumes = append(broken.Spec.Volumes, corev1.Volume{Name: "own", VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: "registry.invalid/none:1", PullPolicy: corev1.PullIfNotPresent}}})
	broken.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/own"}}
	tm.create(broken)
	require.NoError(t, stage.Await(t.Context(), patience, "an event about an image volume", func(ctx context.Context) error {
		var events corev1.EventList
		if err := s.Client.List(ctx, &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.InvolvedObject.Namespace == tm.namespace && e.InvolvedObject.Name == "broken" && strings.Contains(e.Message, "registry.invalid/none:1") {
				return nil
			}
		}
		return fmt.Errorf("none of %d names the image", len(events.Items))
	}))
}

// hasValue is a shell command that succeeds if DB has the value of the secret db, and not the reference. It knows only
// the length, because no value may be in a pod.
var hasValue = fmt.Sprintf("{ case $DB in *@*) false;; *) test ${#DB} -eq %d;; esac; }", len(canary+"-db"))

// exec runs a command in the pod's container, and returns its output.
func (tm team) exec(pod string, command ...string) (string, error) {
	tm.Helper()
	request := s.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(tm.namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "app", Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(s.REST, "GET", request.URL().String())
	require.NoError(tm, err)
	var out, problems bytes.Buffer
	if err := executor.StreamWithContext(tm.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &problems}); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, problems.String())
	}
	return out.String(), nil
}

// imageVolumesAreDenied has a policy as Kyverno's bundled ones were, which knows no volumes of the type image.
func imageVolumesAreDenied(t *testing.T) {
	tm := newTeam(t)
	if !mountsImages(t) {
		t.Log("not tried: image volumes, which need Kubernetes 1.36; use KUBERNETES=1.37")
		return
	}
	tm.resource("db", "db", "")
	require.NoError(t, s.Apply(t.Context(), "", fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
  - {expression: "!object.spec.?volumes.orValue([]).exists(v, has(v.image))", message: only listed types of volumes are allowed}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`, tm.namespace)))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		assert.NoError(t, s.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, tm.namespace, metav1.DeleteOptions{}))
		assert.NoError(t, s.Kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, tm.namespace, metav1.DeleteOptions{}))
	})
	require.NoError(t, stage.Await(t.Context(), patience, "the policy", func(ctx context.Context) error {
		err := s.Client.Create(ctx, by("image", tm.pod("demanded", map[string]string{"DB": "db@azurekeyvault"}, "true")), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "only listed types of volumes are allowed") {
			return fmt.Errorf("it refuses nothing: %w", err)
		}
		return nil
	}))
	template := tm.template("web", corev1.RestartPolicyAlways, hasValue+" && exec sleep 600")
	template.Annotations = map[string]string{wire.AnnotationDelivery: "auto"}
	replicas := int32(2)
	require.NoError(t, s.Client.Create(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tm.namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template}}))
	started := time.Now()
	require.NoError(t, stage.Await(t.Context(), patience, "the Deployment", func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "web"}, &d); err != nil || d.Status.ReadyReplicas != replicas {
			return fmt.Errorf("it is %+v: %w", d.Status, err)
		}
		return nil
	}))
	t.Logf("the Deployment was ready after %s", time.Since(started).Round(time.Second))
	var pods corev1.PodList
	require.NoError(t, s.Client.List(t.Context(), &pods, client.InNamespace(tm.namespace)))
	for i := range pods.Items {
		assert.Len(t, pods.Items[i].Spec.InitContainers, 1)
	}
	assert.Contains(t, metricsOf(t, "akv2k8s-webhook"), `akv2k8s_pod_deliveries_total{delivery="init",reason="policy"}`)
}

// envFiles has the kubelet set the values.
func envFiles(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	env := map[string]string{"DB": "db@azurekeyvault"}
	if !readsEnvFiles(t) {
		err := s.Client.Create(t.Context(), by("envfile", tm.pod("refused", env, "true")))
		require.ErrorContains(t, err, "demands env files, which can't work for this pod: the API server is v1.")
		t.Log("not tried: pods with env files, which need Kubernetes 1.35; use KUBERNETES=1.37")
		return
	}
	// Each value comes out as it is in the vault.
	values := map[string]string{"lines": canary + "\n two # $HOME $(DB) \"\\ é\n", "long": canary + strings.Repeat("x", 25_000-len(canary))}
	for name, value := range values {
		tm.secret(name, value)
		tm.resource(name, name, "")
	}
	p := by("envfile", tm.pod("values", nil, "sh", "-c", hasValue+` && printf %s "$LINES_" | sha256sum && printf %s "$LONG" | sha256sum && test ${#COMPOSED} -eq $((${#DB} + 2)) && test ${#1} -eq ${#DB} && exec sleep 600`, "sh", "$(DB)"))
	c := &p.Spec.Containers[0]
	for name, reference := range map[string]string{"DB": "db@azurekeyvault", "LINES_": "lines@azurekeyvault", "LONG": "long@azurekeyvault"} {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: reference})
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: "COMPOSED", Value: "<$(DB)>"})
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", hasValue}}}, PeriodSeconds: 1}
	got := tm.create(p)
	assert.Equal(t, "sh", got.Spec.Containers[0].Command[0], "the command is the pod's own")
	assert.Empty(t, got.Spec.Containers[0].VolumeMounts, "and nothing is mounted")
	for _, value := range values {
		tm.awaitLog("values", fmt.Sprintf("%x", sha256.Sum256([]byte(value))))
	}
	require.NoError(t, stage.Await(t.Context(), patience, "pod values to be ready", func(ctx context.Context) error {
		var p corev1.Pod
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "values"}, &p); err != nil || len(p.Status.ContainerStatuses) == 0 || !p.Status.ContainerStatuses[0].Ready {
			return fmt.Errorf("it is %+v: %w", p.Status.ContainerStatuses, err)
		}
		return nil
	}))
	out, err := tm.exec("values", "sh", "-c", "echo $DB")
	require.NoError(t, err)
	assert.Equal(t, canary+"-db", strings.TrimSpace(out), "kubectl exec sees the value")

	// What an env file can't hold ends the init container, and the container never starts.
	tm.secret("quoted", canary+"'s")
	tm.resource("quoted", "quoted", "")
	tm.create(by("envfile", tm.pod("quoted", map[string]string{"DB": "db@azurekeyvault", "OF": "quoted@azurekeyvault"}, "echo", "started")))
	code, log := tm.ended("quoted")
	assert.EqualValues(t, 64, code)
	assert.Contains(t, log, "variable OF: the value has a single quote, which an env file can't hold")
	assert.NotContains(t, log, "started")

	// A container that starts again gets the same values, and one whose references are denied never starts.
	again := by("envfile", tm.pod("again", map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c", hasValue+" && echo right && exit 3"))
	again.Spec.RestartPolicy = corev1.RestartPolicyAlways
	tm.create(again)
	require.NoError(t, stage.Await(t.Context(), patience, "pod again to restart", func(ctx context.Context) error {
		var p corev1.Pod
		if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: "again"}, &p); err != nil || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount < 1 {
			return fmt.Errorf("it is %+v: %w", p.Status.ContainerStatuses, err)
		}
		return nil
	}))
	assert.Contains(t, metricsOf(t, "akv2k8s-webhook"), `akv2k8s_pod_deliveries_total{delivery="envfile",reason="supported"}`)
	var events corev1.EventList
	require.NoError(t, s.Client.List(t.Context(), &events))
	for _, e := range events.Items {
		assert.NotContains(t, e.Message, canary)
	}
}

// execInPods runs commands in running containers, as kubectl exec does.
func execInPods(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	for _, delivery := range deliveries(t) {
		name := "exec-" + delivery
		tm.create(by(delivery, tm.pod(name, map[string]string{"DB": "db@azurekeyvault"}, "sleep", "600")))
		require.NoError(t, stage.Await(t.Context(), patience, "pod "+name, func(ctx context.Context) error {
			var p corev1.Pod
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &p); err != nil || p.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("it is %s: %w", p.Status.Phase, err)
			}
			return nil
		}))
		out, err := tm.exec(name, "sh", "-c", "echo $DB")
		require.NoError(t, err, name)
		assert.Equal(t, "db@azurekeyvault", strings.TrimSpace(out), "%s: exec without the injector sees the reference", name)
		out, err = tm.exec(name, wire.InjectorPath, "sh", "-c", "echo $DB")
		require.NoError(t, err, name)
		assert.Equal(t, canary+"-db", strings.TrimSpace(out), "%s: and with it the value", name)
	}
}

// probesAndHooks has the kubelet run commands that succeed only with the value.
func probesAndHooks(t *testing.T) {
	tm := newTeam(t)
	tm.resource("db", "db", "")
	check := &corev1.ExecAction{Command: []string{"sh", "-c", hasValue}}
	leave := &corev1.ExecAction{Command: []string{"sh", "-c", hasValue + " && touch /shared/begun"}}
	for _, delivery := range deliveries(t) {
		p := by(delivery, tm.pod("probed-"+delivery, map[string]string{"DB": "db@azurekeyvault"}, "sh", "-c",
			"until test -e /shared/begun; do sleep 0.1; done; echo begun; sleep 600"))
		p.Annotations[wire.AnnotationInjectProbes] = "true"
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		p.Spec.Volumes = []corev1.Volume{{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		c := &p.Spec.Containers[0]
		c.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: check.DeepCopy()}, PeriodSeconds: 1, TimeoutSeconds: 10}
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: check.DeepCopy()}, PeriodSeconds: 1, TimeoutSeconds: 10}
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: leave.DeepCopy()}}
		tm.create(p)
	}
	for _, delivery := range deliveries(t) {
		name := "probed-" + delivery
		require.NoError(t, stage.Await(t.Context(), patience, "pod "+name+" to be ready", func(ctx context.Context) error {
			var p corev1.Pod
			if err := s.Client.Get(ctx, types.NamespacedName{Namespace: tm.namespace, Name: name}, &p); err != nil {
				return err
			}
			if len(p.Status.ContainerStatuses) == 0 || !p.Status.ContainerStatuses[0].Ready || p.Status.ContainerStatuses[0].RestartCount > 0 {
				return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
			}
			return nil
		}))
		tm.awaitLog(name, "begun")
	}

	// A command that fails says so where it was started, and the message of the container's end stays the container's own.
	name := "probed-init"
	_, err := tm.exec(name, wire.InjectorPath, "no-such-program")
	assert.ErrorContains(t, err, "no-such-program")
	message, err := tm.exec(name, "cat", "/dev/termination-log")
	require.NoError(t, err)
	assert.Empty(t, message)

	odd := tm.pod("odd", map[string]string{"DB": "db@azurekeyvault"}, "true")
	odd.Annotations = map[string]string{wire.AnnotationInjectProbes: "maybe"}
	assert.ErrorContains(t, s.Client.Create(t.Context(), odd), `neither "true" nor "false"`)
}
