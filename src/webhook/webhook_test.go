package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/webhook"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

type bench struct {
	*testing.T
	webhook  *webhook.Webhook
	registry *prometheus.Registry
	log      bytes.Buffer
	notReady error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, registry: prometheus.NewRegistry()}
	metrics, err := webhook.NewMetrics(b.registry)
	require.NoError(t, err)
	b.webhook, err = webhook.New(webhook.Config{Metrics: metrics,
		Settings: func(context.Context) (inject.Settings, error) {
			return inject.Settings{Image: "env:1", CA: "CA", Broker: "b:9443"}, b.notReady
		},
		Log: funcr.New(func(_, args string) { b.log.WriteString(args + "\n") }, funcr.Options{})})
	require.NoError(t, err)
	return b
}

func (b *bench) admit(containers ...corev1.Container) admission.Response {
	b.Helper()
	content, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"}, Spec: corev1.PodSpec{Containers: containers}})
	require.NoError(b, err)
	return b.webhook.Handle(b.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: "team", Object: runtime.RawExtension{Raw: content}}})
}

// counts are the four counters: pods, containers, mutated, refused.
func (b *bench) counts() [4]float64 {
	b.Helper()
	families, err := b.registry.Gather()
	require.NoError(b, err)
	value := map[string]float64{}
	for _, f := range families {
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
	_, err := webhook.New(webhook.Config{})
	assert.Error(t, err)
}
