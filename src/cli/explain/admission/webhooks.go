package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// webhookName is the name of the webhook in the configurations that the chart creates.
const webhookName = "pods.env-injector.admission.spv.no"

// defaultNamespaceLabel is the label of injected namespaces, unless values of the chart change it. It is used if the
// user may not read the configurations.
const defaultNamespaceLabel = "azure-key-vault-env-injection"

const defaultNamespaceLabelValue = "enabled"

// Webhooks are the webhooks of all installations of a cluster. They are read once.
type Webhooks struct {
	all []admissionv1.MutatingWebhook
	// isRead says that they were read, and forbidden that the user may not do that.
	isRead, forbidden bool
}

// readAll reads the webhooks, if that was not done before.
func (w *Webhooks) readAll(ctx context.Context, reader client.Reader) error {
	if w.isRead {
		return nil
	}
	var list admissionv1.MutatingWebhookConfigurationList
	err := reader.List(ctx, &list, client.Limit(limits.ClusterListPage))
	switch {
	case apierrors.IsForbidden(err):
		w.forbidden = true
		w.all = []admissionv1.MutatingWebhook{{Name: webhookName, NamespaceSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{defaultNamespaceLabel: defaultNamespaceLabelValue}}}}
	case err != nil:
		return err
	}
	for _, configuration := range list.Items {
		for _, webhook := range configuration.Webhooks {
			if webhook.Name == webhookName {
				w.all = append(w.all, webhook)
			}
		}
	}
	w.isRead = true
	return nil
}

// Cause is why a pod is not injected, with the next step.
type Cause struct {
	Reason, Try string
	// Command does what Try says; empty if there is none.
	Command string
}

// Selection says whether the API server sends a pod to a webhook.
type Selection struct {
	// Selected says that a webhook selects the pod, as far as that is known.
	Selected bool
	// NamespaceSelected says that a webhook selects the namespace.
	NamespaceSelected bool
	// Cause is why no webhook selects the pod.
	Cause
	// Notes say what is not known.
	Notes []string
}

// Select compares the selectors of the webhooks with the labels of a pod and its namespace, and evaluates their
// matchConditions. Webhooks of other products are not considered.
func (w *Webhooks) Select(ctx context.Context, reader client.Reader, pod *corev1.Pod) (Selection, error) {
	namespace := pod.Namespace
	if err := w.readAll(ctx, reader); err != nil {
		return Selection{}, err
	}
	if len(w.all) == 0 {
		return Selection{Cause: Cause{Reason: "the cluster has no webhook of akv2k8s",
			Try: "install the chart of akv2k8s with env_injector.enabled=true"}}, nil
	}
	var result Selection
	if w.forbidden {
		result.Notes = append(result.Notes, fmt.Sprintf("You may not read MutatingWebhookConfigurations, so the "+
			"default label %s=%s of injected namespaces is assumed.", defaultNamespaceLabel,
			defaultNamespaceLabelValue))
	}
	object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	err := reader.Get(ctx, types.NamespacedName{Name: namespace}, object)
	switch {
	case apierrors.IsForbidden(err):
		result.Selected, result.NamespaceSelected = true, true
		result.Notes = append(result.Notes, "You may not read the labels of namespace "+namespace+
			", so it is not known whether its pods are injected.")
		return result, nil
	case apierrors.IsNotFound(err):
		result.Reason, result.Try = fmt.Sprintf("namespace %q does not exist", namespace), "create the namespace first"
		return result, nil
	case err != nil:
		return Selection{}, err
	}
	return result, result.match(ctx, w.all, object.Labels, pod)
}

// match compares the selectors and conditions. Of several installations, the one with the fewest mismatches gives the
// reason.
func (s *Selection) match(ctx context.Context, webhooks []admissionv1.MutatingWebhook, namespace map[string]string,
	pod *corev1.Pod) error {
	best := -1
	for i, webhook := range webhooks {
		wrongNamespace, err := mismatches(webhook.NamespaceSelector, namespace)
		if err != nil {
			return err
		}
		wrongPod, err := mismatches(webhook.ObjectSelector, pod.Labels)
		if err != nil {
			return err
		}
		s.NamespaceSelected = s.NamespaceSelected || len(wrongNamespace) == 0
		count := len(wrongNamespace) + len(wrongPod)
		failed := ""
		if count == 0 {
			var unknown []string
			if failed, unknown = checkConditions(ctx, &webhooks[i], pod); failed == "" {
				s.selectPod(unknown)
				return nil
			}
		}
		if best >= 0 && count >= best {
			continue
		}
		best = count
		switch {
		case failed != "":
			s.Cause = conditionCause(failed)
		case len(wrongNamespace) > 0:
			s.Cause = namespaceCause(pod.Namespace, wrongNamespace)
		default:
			s.Cause = Cause{Reason: "the labels of the pod do not match " + strings.Join(wrongPod, ", "),
				Try: "change the labels in the pod template"}
		}
	}
	return nil
}

// selectPod notes that a webhook selects the pod, unless these conditions of it are false.
func (s *Selection) selectPod(unknown []string) {
	s.Selected, s.Cause = true, Cause{}
	if len(unknown) > 0 {
		s.Notes = append(s.Notes, conditionNote(unknown))
	}
}

// namespaceCause says what a namespace lacks, and how to label it, if labels are all that it lacks.
func namespaceCause(namespace string, wrong []string) Cause {
	c := Cause{Reason: fmt.Sprintf("the labels of namespace %q do not match %s", namespace, strings.Join(wrong, ", "))}
	if slices.ContainsFunc(wrong, func(text string) bool { return strings.Contains(text, " ") }) {
		c.Try = "create the pod in another namespace, or see env_injector.namespaceSelector in the values of the chart"
		return c
	}
	c.Try = "label the namespace, and recreate the pod"
	c.Command = fmt.Sprintf("kubectl label namespace %s %s", namespace, strings.Join(wrong, " "))
	return c
}

// mismatches returns the requirements of a selector that labels do not meet.
func mismatches(selector *metav1.LabelSelector, of map[string]string) ([]string, error) {
	if selector == nil {
		return nil, nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, fmt.Errorf("the selector of webhook %s is not valid: %w", webhookName, err)
	}
	requirements, _ := parsed.Requirements()
	var wrong []string
	for _, requirement := range requirements {
		if !requirement.Matches(labels.Set(of)) {
			wrong = append(wrong, requirement.String())
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}
