package admission_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/cli/explain/admission"
)

// selectWith returns whether a webhook with these conditions, NAME: EXPRESSION, selects a pod.
func selectWith(t *testing.T, pod *corev1.Pod, conditions ...admissionv1.MatchCondition) admission.Selection {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "akv2k8s"},
			Webhooks: []admissionv1.MutatingWebhook{{Name: "pods.env-injector.admission.spv.no", MatchConditions: conditions}}}).Build()
	selection, err := (&admission.Webhooks{}).Select(t.Context(), reader, pod)
	require.NoError(t, err)
	return selection
}

// podOf is a pod of namespace team with a reference, a label and an annotation.
func podOf(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, yaml.Unmarshal([]byte(`{metadata: {name: shop, namespace: team, labels: {tier: web}, annotations: {n: not-a-number-canary}},
spec: {containers: [{name: app, env: [{name: DB, value: db@azurekeyvault}]}]}}`), pod))
	return pod
}

func TestConditionsAreEvaluatedAsByTheAPIServer(t *testing.T) {
	for _, try := range []struct {
		expression        string
		selected, unknown bool
	}{
		{"object.metadata.labels.tier == 'web'", true, false},
		{"object.metadata.labels.tier == 'db'", false, false},
		{"object.kind == 'Pod' && request.operation == 'CREATE' && request.namespace == 'team' && request.kind.kind == 'Pod'", true, false},
		{"request.resource.resource != 'pods'", false, false},
		{"oldObject == null", true, false},
		{"request.userInfo.username != 'system:admin'", true, true},
		{"request['userInfo'].username != 'x'", true, true},
		{"authorizer.group('').resource('pods').check('create').allowed()", true, true},
		{"object.metadata.labels.missing == 'x'", true, true},
		{"int(object.metadata.annotations['n']) > 1", true, true},
		{"not CEL", true, true},
	} {
		s := selectWith(t, podOf(t), admissionv1.MatchCondition{Name: "ours", Expression: "true"},
			admissionv1.MatchCondition{Name: "tried", Expression: try.expression})
		assert.Equal(t, try.selected, s.Selected, try.expression)
		assert.True(t, s.NamespaceSelected, try.expression)
		if !try.selected {
			assert.Equal(t, "the matchCondition tried of the webhook is false for the pod", s.Reason)
		}
		assert.Equal(t, try.unknown, len(s.Notes) > 0, try.expression)
		for _, note := range s.Notes {
			assert.Contains(t, note, "can exclude it: tried")
			assert.NotContains(t, note, "canary")
		}
	}
	// One that is false decides, whatever is not known.
	s := selectWith(t, podOf(t), admissionv1.MatchCondition{Name: "user", Expression: "request.userInfo.username == ''"},
		admissionv1.MatchCondition{Name: "never", Expression: "false"})
	assert.False(t, s.Selected)
	assert.Empty(t, s.Notes)
}

// TestTheConditionOfTheChartIsEvaluated takes the expression from the template, which has no values in it.
func TestTheConditionOfTheChartIsEvaluated(t *testing.T) {
	content, err := os.ReadFile("../../../../charts/akv2k8s/templates/env-injector/webhook.yaml")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?s)name: refers-to-key-vault\n\s+expression: >-\n(.*?)\n\s+\{\{-`).FindSubmatch(content)
	require.NotNil(t, found)
	condition := admissionv1.MatchCondition{Name: "refers-to-key-vault", Expression: strings.Join(strings.Fields(string(found[1])), " ")}
	s := selectWith(t, podOf(t), condition)
	assert.True(t, s.Selected)
	assert.Empty(t, s.Notes)
	without := podOf(t)
	without.Spec.Containers[0].Env = nil
	s = selectWith(t, without, condition)
	assert.False(t, s.Selected)
	described, err := json.Marshal(s)
	require.NoError(t, err)
	assert.Contains(t, string(described), "refers-to-key-vault")
}
