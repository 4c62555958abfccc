package admission

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const category = "Webhook"

const runHelm = "run helm upgrade with the values of the installation"

// Configuration checks that the API server calls the webhook for the pods of the labelled namespaces.
func Configuration(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckConfiguration,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil || i.IsV1() {
					return nil
				}
				configuration, webhook, problem := readWebhook(ctx, s, i)
				if webhook == nil {
					return problem
				}
				return checkConfiguration(i, configuration, webhook)
			})
		}}
}

// readWebhook returns the webhook of an installation. Without one, the findings say why.
func readWebhook(ctx context.Context, s *cluster.State, i *cluster.Installation) (
	*admissionv1.MutatingWebhookConfiguration, *admissionv1.MutatingWebhook, []doctor.Finding) {
	name := i.InjectorName()
	object := "mutatingwebhookconfiguration/" + name
	var configuration admissionv1.MutatingWebhookConfiguration
	err := s.Client.Get(ctx, client.ObjectKey{Name: name}, &configuration)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it does not exist",
			Why: "the API server does not call the webhook, so programs get references as text", Try: runHelm}}
	case err != nil:
		return nil, nil, cluster.ReadFailure(err, doctor.Right{Verb: "get", Group: "admissionregistration.k8s.io",
			Resource: "mutatingwebhookconfigurations", Name: name})
	}
	for j := range configuration.Webhooks {
		if configuration.Webhooks[j].Name == cluster.WebhookName {
			return &configuration, &configuration.Webhooks[j], nil
		}
	}
	return nil, nil, []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it has no webhook " +
		cluster.WebhookName, Why: "it was changed after the installation", Try: runHelm}}
}

func checkConfiguration(i *cluster.Installation, c *admissionv1.MutatingWebhookConfiguration,
	w *admissionv1.MutatingWebhook) []doctor.Finding {
	var found []doctor.Finding
	add := func(severity doctor.Severity, what, why, try string) {
		found = append(found, doctor.Finding{Severity: severity, Object: "mutatingwebhookconfiguration/" + c.Name,
			What: what, Why: why, Try: try})
	}
	service := w.ClientConfig.Service
	if service == nil || service.Namespace != i.Namespace || service.Name != i.InjectorName() {
		add(doctor.Error, "it does not name the Service of the env-injector", "the API server calls something else",
			runHelm)
	}
	label, value := i.Injection()
	if w.NamespaceSelector == nil || w.NamespaceSelector.MatchLabels[label] != value {
		add(doctor.Error, "its namespaceSelector is not the label "+label+"="+value+" of the env-injector",
			"the env-injector denies pods of other namespaces, and is not called for those with the label", runHelm)
	}
	if w.FailurePolicy != nil && *w.FailurePolicy == admissionv1.Ignore {
		add(doctor.Warning, "its failurePolicy is Ignore", "while the env-injector is unavailable, pods start with "+
			"references as text", "set env_injector.failurePolicy to Fail")
	}
	if !coversPods(w.Rules) {
		add(doctor.Error, "its rules don't include the creation of pods", "it was changed after the installation",
			runHelm)
	}
	return found
}

func coversPods(rules []admissionv1.RuleWithOperations) bool {
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, operation := range rule.Operations {
				if (resource == "pods" || resource == "*" || resource == "*/*") &&
					(operation == admissionv1.Create || operation == admissionv1.OperationAll) {
					return true
				}
			}
		}
	}
	return false
}
