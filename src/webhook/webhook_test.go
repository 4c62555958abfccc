package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

type bench struct {
	*testing.T
	webhook  *webhook.Webhook
	registry *prometheus.Registry
	log      bytes.Buffer
	notReady error
	// live has the objects of the cluster; refusing is the error of reads, or nil; images are commands by image.
	live     client.Client
	reads    atomic.Int64
	refusing error
	images   map[string]ociimage.Command
	asked    []ociimage.Query
	// delivery is the decision for every pod, or refusal the error.
	delivery delivery.Decision
	refusal  error
	pod      corev1.Pod
}

// ReadCommand returns the command of an image of the bench, and an error for any other image.
func (b *bench) ReadCommand(ctx context.Context, q ociimage.Query) (ociimage.Command, error) {
	b.asked = append(b.asked, q)
	if q.Image == "slow:1" {
		<-ctx.Done()
	}
	if command, ok := b.images[q.Image]; ok {
		return command, nil
	}
	return ociimage.Command{}, fault.New(fault.Denied, "the registry answered 401 UNAUTHORIZED")
}

// Choose returns the decision of the bench.
func (b *bench) Choose(context.Context, *corev1.Pod, bool) (delivery.Decision, error) {
	return b.delivery, b.refusal
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, registry: prometheus.NewRegistry(), delivery: delivery.Decision{Mode: delivery.ModeInit, Reason: delivery.ReasonConfigured}}
	metrics, err := webhook.NewMetrics(b.registry)
	require.NoError(t, err)
	b.pod = corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"}}
	namespace := func(name string, labels map[string]string) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	b.live = fake.NewClientBuilder().WithObjects(namespace("team", map[string]string{"inject": "yes"}), namespace("unlabelled", nil),
		namespace("refusing", map[string]string{"inject": "no"})).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			b.reads.Add(1)
			if _, namespace := object.(*metav1.PartialObjectMetadata); b.refusing != nil && !namespace {
				return b.refusing
			}
			return c.Get(ctx, key, object, options...)
		}}).Build()
	b.webhook, err = webhook.New(webhook.Config{Metrics: metrics, APIReader: b.live, Images: b, Delivery: b, ReviewTimeout: time.Second, Clock: time.Now, NamespaceLabel: "inject", NamespaceLabelValue: "yes",
		Settings: func(context.Context) (inject.Settings, error) {
			return inject.Settings{Image: "env:1", CA: "CA", Broker: "b:9443"}, b.notReady
		},
		Log: funcr.New(func(_, args string) { b.log.WriteString(args + "\n") }, funcr.Options{})})
	require.NoError(t, err)
	return b
}

func (b *bench) admit(containers ...corev1.Container) admission.Response {
	b.Helper()
	b.pod.Spec.Containers = containers
	content, err := json.Marshal(b.pod)
	require.NoError(b, err)
	return b.webhook.Handle(b.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: "team", Object: runtime.RawExtension{Raw: content}}})
}

// patched is the pod after the patch in the answer.
func (b *bench) patched(r admission.Response) corev1.Pod {
	b.Helper()
	require.True(b, r.Allowed, "%v", r.Result)
	before, err := json.Marshal(b.pod)
	require.NoError(b, err)
	text, err := json.Marshal(r.Patches)
	require.NoError(b, err)
	patch, err := jsonpatch.DecodePatch(text)
	require.NoError(b, err)
	after, err := patch.Apply(before)
	require.NoError(b, err)
	var pod corev1.Pod
	require.NoError(b, json.Unmarshal(after, &pod))
	return pod
}

// counts are the four counters: pods, containers, mutated, refused.
func (b *bench) counts() [4]float64 {
	b.Helper()
	families, err := b.registry.Gather()
	require.NoError(b, err)
	value := map[string]float64{}
	for _, f := range families {
		if len(f.GetMetric()) == 0 {
			continue
		}
		value[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	return [4]float64{value["akv2k8s_pod_inspections_total"], value["akv2k8s_container_inspections_total"],
		value["akv2k8s_pod_mutations_total"], value["akv2k8s_pod_mutations_failed_total"]}
}

func container(value string) corev1.Container {
	return corev1.Container{Name: "app", Command: []string{"/app"}, Env: []corev1.EnvVar{{Name: "A", Value: value}}}
}

func TestAPodWithAReferenceIsPatched(t *testing.T) {
	b := newBench(t)
	response := b.admit(container("a@azurekeyvault"))
	assert.True(t, response.Allowed)
	assert.NotEmpty(t, response.Patches)
	assert.Equal(t, [4]float64{1, 1, 1, 0}, b.counts())
	assert.Contains(t, b.log.String(), "app-…")
}

func TestTheDeliveryIsChosenForEachPod(t *testing.T) {
	b := newBench(t)
	b.delivery = delivery.Decision{Mode: delivery.ModeImage, Reason: delivery.ReasonSupported}
	b.reads.Store(0)
	pod := b.patched(b.admit(container("a@azurekeyvault")))
	assert.Empty(t, pod.Spec.InitContainers)
	assert.Equal(t, "env:1", pod.Spec.Volumes[0].Image.Reference)
	b.delivery = delivery.Decision{Mode: delivery.ModeInit, Reason: delivery.ReasonKubelet, Version: "v1.34.1", Node: "old"}
	pod = b.patched(b.admit(container("a@azurekeyvault")))
	assert.Len(t, pod.Spec.InitContainers, 1)
	assert.Contains(t, b.log.String(), `"delivery"="init" "deliveryReason"="kubelet" "deliveryVersion"="v1.34.1" "node"="old"`)
	b.refusal = fault.New(fault.Invalid, "no image volume here")
	response := b.admit(container("a@azurekeyvault"))
	assert.False(t, response.Allowed)
	assert.Contains(t, response.Result.Message, "akv2k8s: no image volume here")
	assert.True(t, b.admit(container("plain")).Allowed, "a pod without references has no delivery")
	assert.NoError(t, testutil.GatherAndCompare(b.registry, strings.NewReader(`
# HELP akv2k8s_pod_deliveries_total Injected pods by delivery (image volume, init container or env file), and why.
# TYPE akv2k8s_pod_deliveries_total counter
akv2k8s_pod_deliveries_total{delivery="image",reason="supported"} 1
akv2k8s_pod_deliveries_total{delivery="init",reason="kubelet"} 1
`), "akv2k8s_pod_deliveries_total"))
}

func TestAPodWithoutReferencesIsLeftAlone(t *testing.T) {
	b := newBench(t)
	response := b.admit(container("x@azurekeyvaults"), corev1.Container{Name: "b"})
	assert.True(t, response.Allowed)
	assert.Empty(t, response.Patches)
	assert.Len(t, response.Warnings, 1)
	assert.Equal(t, [4]float64{1, 2, 0, 0}, b.counts())
}

func TestARefusalSaysWhyAndQuotesNothing(t *testing.T) {
	b := newBench(t)
	response := b.admit(container("hunter2 @azurekeyvault"))
	assert.False(t, response.Allowed)
	assert.EqualValues(t, http.StatusForbidden, response.Result.Code)
	assert.Contains(t, response.Result.Message, `akv2k8s: container "app": variable A`)
	assert.NotContains(t, response.Result.Message+b.log.String(), "hunter2")
	assert.Equal(t, [4]float64{1, 1, 0, 1}, b.counts())
}

func TestNotReadyYet(t *testing.T) {
	b := newBench(t)
	b.notReady = errors.New("no CA yet")
	response := b.admit(container("a@azurekeyvault"))
	assert.False(t, response.Allowed, "a pod must not start with a raw reference")
	assert.EqualValues(t, http.StatusServiceUnavailable, response.Result.Code)
	assert.True(t, b.admit(container("plain")).Allowed, "other pods don't have to wait")
}

func TestWhatIsNoPod(t *testing.T) {
	b := newBench(t)
	pod := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	response := b.webhook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Kind: pod, Object: runtime.RawExtension{Raw: []byte("hunter2")}}})
	assert.False(t, response.Allowed)
	assert.NotContains(t, response.Result.Message, "hunter2")
	assert.True(t, b.webhook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Kind: pod, SubResource: "status"}}).Allowed)
	response = b.webhook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Kind: pod, SubResource: "ephemeralcontainers",
		Object: runtime.RawExtension{Raw: []byte("{}")}}})
	assert.False(t, response.Allowed)
	_, err := webhook.New(webhook.Config{})
	assert.Error(t, err)
}

func object(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "team", Name: name} }

// argsOf are the arguments of the injector in a container.
func argsOf(pod corev1.Pod, container int) []string { return pod.Spec.Containers[container].Args }

func TestReferencesOfConfigMapsAndSecretsAreRecorded(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.live.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: object("settings"), Data: map[string]string{"DB": "db@azurekeyvault", "X": "x"}}))
	require.NoError(t, b.live.Create(t.Context(), &corev1.Secret{ObjectMeta: object("secret"), Data: map[string][]byte{"K": []byte("hunter2")}}))
	from := []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "secret"}}}}
	response := b.admit(corev1.Container{Name: "app", Command: []string{"/app"}, EnvFrom: from})
	pod := b.patched(response)
	assert.Equal(t, []string{"/app"}, argsOf(pod, 0))
	content, err := json.Marshal(response)
	require.NoError(t, err)
	assert.Contains(t, string(content), `{\"DB\":\"db@azurekeyvault\"}`)
	assert.NotContains(t, string(content)+b.log.String(), "hunter2")

	b.refusing = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "settings", errors.New("no"))
	response = b.admit(corev1.Container{Name: "app", Command: []string{"/app"}, EnvFrom: from})
	assert.True(t, response.Allowed, "what the installation is not meant to read is left alone")
	assert.Empty(t, response.Patches)
	b.refusing = apierrors.NewTimeoutError("slow", 1)
	response = b.admit(corev1.Container{Name: "app", Command: []string{"/app"}, EnvFrom: from})
	assert.False(t, response.Allowed, "a pod must not start with a raw reference because the API server was slow")
	assert.Regexp(t, `reading (ConfigMap "settings"|Secret "secret") from the API server: .*; try again`, response.Result.Message)
}

func TestReferencesOfAnImagesOwnEnvironmentAreRecorded(t *testing.T) {
	b := newBench(t)
	b.images = map[string]ociimage.Command{"app:1": {Entrypoint: []string{"/app"}, References: map[string]string{"OF_IMAGE": "of-image@azurekeyvault", "A": "other@azurekeyvault", "ENV_INJECTOR_CA": "x@azurekeyvault"}},
		"odd:1": {Entrypoint: []string{"/app"}, References: map[string]string{"OF_IMAGE": "hunter2 @azurekeyvault"}}}
	c := container("a@azurekeyvault")
	c.Command, c.Image, c.Args = nil, "app:1", []string{"$(OF_IMAGE)"}
	pod := b.patched(b.admit(c))
	want := corev1.EnvVar{Name: "ENV_INJECTOR_IMAGE_REFERENCES", Value: `{"OF_IMAGE":"of-image@azurekeyvault"}`}
	assert.Contains(t, pod.Spec.Containers[0].Env, want, "what the pod sets comes before the image's, and what is ours is no variable of an image")
	assert.Equal(t, []string{"/app", "$(OF_IMAGE)"}, pod.Spec.Containers[0].Args, "the kubelet does not know the image's variables")
	again := b.admit(pod.Spec.Containers...)
	require.True(t, again.Allowed, "%v", again.Result)
	assert.Contains(t, b.patched(again).Spec.Containers[0].Env, want, "admitting it again loses nothing")

	c.Image = "odd:1"
	refused := b.admit(c)
	assert.False(t, refused.Allowed)
	assert.Contains(t, refused.Result.Message, `container "app": variable OF_IMAGE, from the image itself`)
	assert.NotContains(t, refused.Result.Message, "hunter2")
	c.Env, c.EnvFrom = nil, []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "missing"}}}}
	assert.True(t, b.admit(c).Allowed, "a container that is only wrapped as a precaution stays as it is")
}

func TestTheCommandOfAnImageIsFoundOut(t *testing.T) {
	b := newBench(t)
	b.images = map[string]ociimage.Command{"app:1": {Entrypoint: []string{"/app"}, Cmd: []string{"--serve"}}, "empty:1": {}}
	b.pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "gone"}, {Name: "pull"}}
	b.pod.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "arm64"}
	require.NoError(t, b.live.Create(t.Context(), &corev1.Secret{ObjectMeta: object("pull")}))
	env := []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}
	pod := b.patched(b.admit(corev1.Container{Name: "app", Image: "app:1", Env: env}))
	assert.Equal(t, []string{"/app", "--serve"}, argsOf(pod, 0))
	require.Len(t, b.asked, 1)
	assert.Equal(t, "linux arm64", b.asked[0].OS+" "+b.asked[0].Architecture)
	require.Len(t, b.asked[0].PullSecrets, 1, "one that is not there is skipped, as by the kubelet")

	for image, says := range map[string]string{"private:1": "401 UNAUTHORIZED", "empty:1": "has no command"} {
		response := b.admit(corev1.Container{Name: "app", Image: image, Env: env})
		assert.False(t, response.Allowed)
		for _, part := range []string{says, `container "app"`, "set the container's command", "akv2k8s.io/commands", "imagePullSecrets"} {
			assert.Contains(t, response.Result.Message, part)
		}
	}
	started := time.Now()
	b.webhook.ReviewTimeout = time.Minute
	assert.True(t, b.admit(corev1.Container{Name: "app", Image: "slow:1", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}}}}).Allowed)
	assert.Less(t, time.Since(started), 10*time.Second, "and nobody waits long for a registry that does not answer")
	response := b.admit(corev1.Container{Name: "app", Image: "private:1", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}}}})
	assert.True(t, response.Allowed, "no reference is known, so nothing is refused")
	assert.Empty(t, response.Patches)
	require.Len(t, response.Warnings, 1)
	assert.Contains(t, response.Warnings[0], "stay text")
}

func TestThePlatformOfAPod(t *testing.T) {
	term := func(values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/arch", Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	for want, terms := range map[string][]corev1.NodeSelectorTerm{"arm64": {term("arm64"), term("arm64")}, "": {term("arm64"), term("amd64")}, " ": {term("arm64", "amd64")}} {
		b := newBench(t)
		b.images = map[string]ociimage.Command{"app:1": {Cmd: []string{"/app"}}}
		b.pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
		b.patched(b.admit(corev1.Container{Name: "app", Image: "app:1", Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}}))
		assert.Equal(t, strings.TrimSpace(want), b.asked[0].Architecture)
	}
	expression := func(key string, operator corev1.NodeSelectorOperator, value string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: operator, Values: []string{value}}
	}
	required := func(expressions ...corev1.NodeSelectorRequirement) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: expressions}}}}}
	}
	for name, c := range map[string]struct {
		affinity *corev1.Affinity
		want     string
	}{
		"not on an architecture":  {required(expression("kubernetes.io/arch", corev1.NodeSelectorOpNotIn, "arm64")), ""},
		"by something else too":   {required(expression("kubernetes.io/os", corev1.NodeSelectorOpIn, "linux"), expression("kubernetes.io/arch", corev1.NodeSelectorOpIn, "arm64")), "arm64"},
		"by pods alone":           {&corev1.Affinity{}, ""},
		"by what is preferred":    {&corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}, ""},
		"by no term":              {&corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{}}}, ""},
		"by a term without a key": {required(), ""},
	} {
		b := newBench(t)
		b.images = map[string]ociimage.Command{"app:1": {Cmd: []string{"/app"}}}
		b.pod.Spec.Affinity = c.affinity
		b.patched(b.admit(corev1.Container{Name: "app", Image: "app:1", Env: []corev1.EnvVar{{Name: "A", Value: "a@azurekeyvault"}}}))
		assert.Equal(t, c.want, b.asked[0].Architecture, name)
	}
}

func TestEphemeralContainersAreWrappedInInjectedPods(t *testing.T) {
	b := newBench(t)
	injected := b.patched(b.admit(container("a@azurekeyvault")))
	for name, old := range map[string]corev1.Pod{"injected": injected, "not": b.pod} {
		after := *old.DeepCopy()
		after.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(container("b@azurekeyvault"))}}
		after.Spec.EphemeralContainers[0].Name = "debugger"
		before, err := json.Marshal(old)
		require.NoError(t, err)
		content, err := json.Marshal(after)
		require.NoError(t, err)
		response := b.webhook.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Update, SubResource: "ephemeralcontainers",
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: "team", Object: runtime.RawExtension{Raw: content}, OldObject: runtime.RawExtension{Raw: before}}})
		if name == "not" {
			assert.Contains(t, response.Result.Message, "kubectl debug --copy-to")
			continue
		}
		b.pod = after
		assert.Equal(t, []string{"/azure-keyvault/azure-keyvault-env"}, b.patched(response).Spec.EphemeralContainers[0].Command)
		b.pod = old
		for _, patch := range response.Patches {
			assert.Contains(t, patch.Path, "/spec/ephemeralContainers", "nothing else may change")
		}
	}
}

func TestTheInitContainerFitsTheLimitRangeOfTheNamespace(t *testing.T) {
	for _, kind := range []corev1.LimitType{corev1.LimitTypeContainer, corev1.LimitTypePod} {
		b := newBench(t)
		require.NoError(t, b.live.Create(t.Context(), &corev1.LimitRange{ObjectMeta: object("small"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: corev1.LimitTypePersistentVolumeClaim, Max: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m")}},
			{Type: kind, Max: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}}}}))
		pod := b.patched(b.admit(container("a@azurekeyvault")))
		assert.Equal(t, "100m", pod.Spec.InitContainers[0].Resources.Limits.Cpu().String(), kind)
	}
}
