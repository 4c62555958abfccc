package chart

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// leaveAlone is the label and the annotation by which AKS can be told not to edit a webhook configuration.
const leaveAlone = "admissions.enforcer/disabled"

// enforced is what AKS's admissions enforcer makes of a webhook configuration: it keeps every webhook from the
// namespaces of the control plane and of its own components, by two requirements of the namespaceSelector, unless a
// label or an annotation says not to. The annotation is documented; the requirements are those that operators of
// clusters report (Azure/AKS#1771, Kong/kong-operator#239, DataDog/datadog-agent#19965).
func enforced(config *admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration {
	out := config.DeepCopy()
	if out.Labels[leaveAlone] == "true" || out.Annotations[leaveAlone] == "true" {
		return out
	}
	for i := range out.Webhooks {
		selector := out.Webhooks[i].NamespaceSelector
		if selector == nil {
			selector = &metav1.LabelSelector{}
			out.Webhooks[i].NamespaceSelector = selector
		}
		for _, wanted := range []metav1.LabelSelectorRequirement{
			{Key: "control-plane", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"true"}},
			{Key: "kubernetes.azure.com/managedby", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"aks"}},
		} {
			there := false
			for _, r := range selector.MatchExpressions {
				there = there || r.String() == wanted.String()
			}
			if !there {
				selector.MatchExpressions = append(selector.MatchExpressions, wanted)
			}
		}
	}
	return out
}

// webhooks are the configurations among what was rendered, of both kinds: their fields are named alike.
func webhooks(t *testing.T, all objects) []*admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	var configs []*admissionv1.MutatingWebhookConfiguration
	for name, object := range all {
		if strings.Contains(name, "WebhookConfiguration/") {
			configs = append(configs, configuration(t, object))
		}
	}
	require.NotEmpty(t, configs)
	return configs
}

func configuration(t *testing.T, object *unstructured.Unstructured) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	config := &admissionv1.MutatingWebhookConfiguration{}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, config))
	return config
}

func TestAKSFindsNothingToChangeInTheWebhook(t *testing.T) {
	for name, set := range map[string][]string{
		"by default": nil, "one namespace": {"watchAllNamespaces=false"}, "cert-manager": {"env_injector.certificate.useCertManager=true"},
		"requirements of one's own": {"env_injector.namespaceSelector.matchExpressions[0].key=a", "env_injector.namespaceSelector.matchExpressions[0].operator=Exists"},
		"annotations of one's own":  {`env_injector.webhookAnnotations.admissions\.enforcer/disabled=no`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, config := range webhooks(t, render(t, set...)) {
				assert.Equal(t, config, enforced(config), "it is left alone, since it says so")
				assert.Equal(t, "true", config.Labels[leaveAlone], "by its label, which no value takes away")
				delete(config.Labels, leaveAlone)
				delete(config.Annotations, leaveAlone)
				assert.Equal(t, config, enforced(config), "and where nobody looks at that, all is there already")
				for _, w := range config.Webhooks {
					assertNeverAsked(t, w.NamespaceSelector)
				}
			}
		})
	}
}

// assertNeverAsked checks the namespaces that AKS is anxious about, should somebody enable injection in them.
func assertNeverAsked(t *testing.T, selector *metav1.LabelSelector) {
	t.Helper()
	matcher, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	of := func(more labels.Set) labels.Set {
		return labels.Merge(labels.Set{"azure-key-vault-env-injection": "enabled", "kubernetes.io/metadata.name": "akv2k8s", "a": ""}, more)
	}
	assert.True(t, matcher.Matches(of(nil)))
	for _, more := range []labels.Set{{"control-plane": "true"}, {"kubernetes.azure.com/managedby": "aks"}, {"kubernetes.io/metadata.name": "kube-system"}} {
		assert.False(t, matcher.Matches(of(more)), "%v", more)
	}
}
