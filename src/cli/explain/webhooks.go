package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
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

// webhooksRead are the webhooks of the installations.
type webhooksRead struct {
	all []admissionv1.MutatingWebhook
	// forbidden says that the user may not read them.
	forbidden bool
}

// readWebhooks reads the webhooks of all installations.
func (e *Explainer) readWebhooks(ctx context.Context) (*webhooksRead, error) {
	if e.webhooks != nil {
		return e.webhooks, nil
	}
	read := &webhooksRead{}
	var list admissionv1.MutatingWebhookConfigurationList
	err := e.Reader.List(ctx, &list, client.Limit(limits.ClusterListPage))
	switch {
	case apierrors.IsForbidden(err):
		read.forbidden = true
		read.all = []admissionv1.MutatingWebhook{{Name: webhookName, NamespaceSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{defaultNamespaceLabel: defaultNamespaceLabelValue}}}}
	case err != nil:
		return nil, err
	}
	for _, configuration := range list.Items {
		for _, webhook := range configuration.Webhooks {
			if webhook.Name == webhookName {
				read.all = append(read.all, webhook)
			}
		}
	}
	e.webhooks = read
	return read, nil
}

// admission says whether the API server sends a pod to a webhook.
type admission struct {
	// selected says that a webhook selects the pod, as far as that is known.
	selected bool
	// namespaceSelected says that a webhook selects the namespace.
	namespaceSelected bool
	// reason is why no webhook selects the pod.
	reason string
	// try is the next step in that case.
	try string
	// notes say what is not known.
	notes []string
}

// admissionOf compares the selectors of the webhooks with the labels of a pod and its namespace.
func (e *Explainer) admissionOf(ctx context.Context, namespace string, pod map[string]string) (admission, error) {
	read, err := e.readWebhooks(ctx)
	if err != nil {
		return admission{}, err
	}
	if len(read.all) == 0 {
		return admission{reason: "the cluster has no webhook of akv2k8s",
			try: "install the chart of akv2k8s with env_injector.enabled=true"}, nil
	}
	var result admission
	if read.forbidden {
		result.notes = append(result.notes, fmt.Sprintf("You may not read MutatingWebhookConfigurations, so the "+
			"default label %s=%s of injected namespaces is assumed.", defaultNamespaceLabel,
			defaultNamespaceLabelValue))
	}
	object := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	err = e.Reader.Get(ctx, types.NamespacedName{Name: namespace}, object)
	switch {
	case apierrors.IsForbidden(err):
		result.selected, result.namespaceSelected = true, true
		result.notes = append(result.notes, "You may not read the labels of namespace "+namespace+
			", so it is not known whether its pods are injected.")
		return result, nil
	case apierrors.IsNotFound(err):
		result.reason, result.try = fmt.Sprintf("namespace %q does not exist", namespace), "create the namespace first"
		return result, nil
	case err != nil:
		return admission{}, err
	}
	return result, result.match(read.all, namespace, object.Labels, pod)
}

// match compares the selectors. Of several installations, the one with the fewest mismatches gives the reason.
func (a *admission) match(webhooks []admissionv1.MutatingWebhook, name string, namespace, pod map[string]string) error {
	best := -1
	for _, webhook := range webhooks {
		wrongNamespace, err := mismatches(webhook.NamespaceSelector, namespace)
		if err != nil {
			return err
		}
		wrongPod, err := mismatches(webhook.ObjectSelector, pod)
		if err != nil {
			return err
		}
		a.namespaceSelected = a.namespaceSelected || len(wrongNamespace) == 0
		count := len(wrongNamespace) + len(wrongPod)
		if count == 0 {
			a.selected, a.reason, a.try = true, "", ""
			return nil
		}
		if best >= 0 && count >= best {
			continue
		}
		best = count
		if len(wrongNamespace) > 0 {
			a.reason = fmt.Sprintf("the labels of namespace %q do not match %s", name,
				strings.Join(wrongNamespace, ", "))
			a.try = labelAdvice(name, wrongNamespace)
		} else {
			a.reason = "the labels of the pod do not match " + strings.Join(wrongPod, ", ")
			a.try = "change the labels in the pod template"
		}
	}
	return nil
}

// labelAdvice says how to label a namespace, if labels are all that it lacks.
func labelAdvice(namespace string, wrong []string) string {
	if slices.ContainsFunc(wrong, func(text string) bool { return strings.Contains(text, " ") }) {
		return "create the pod in another namespace, or see env_injector.namespaceSelector in the values of the chart"
	}
	return fmt.Sprintf("kubectl label namespace %s %s, and recreate the pod", namespace, strings.Join(wrong, " "))
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
