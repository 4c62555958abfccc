package installation

import (
	"context"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

var listWebhooks = doctor.Right{Verb: "list", Group: "admissionregistration.k8s.io",
	Resource: "mutatingwebhookconfigurations"}

// Leftovers checks that nothing of akv2k8s 1.8, or of an installation that was removed, is in the way.
func Leftovers(s *cluster.State) doctor.Check {
	return leftovers(s, category)
}

// LeftoversBefore is Leftovers before an installation.
func LeftoversBefore(s *cluster.State) doctor.Check { return leftovers(s, "Before the installation") }

func leftovers(s *cluster.State, category string) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckLeftovers,
		Needs: []doctor.Right{listWebhooks, {Verb: "list", Group: "apps", Resource: "deployments"}},
		Run: func(ctx context.Context) []doctor.Finding {
			installations, problem := s.Installations(ctx)
			if problem != nil {
				return problem
			}
			var found []doctor.Finding
			for _, one := range installations {
				if one.IsV1() && len(installations) > 1 {
					found = append(found, doctor.Finding{Severity: doctor.Error, Object: one.String(),
						What: "akv2k8s 1.8 still runs next to another installation",
						Why:  "both write the same outputs and inject the same pods",
						Try:  "uninstall the release of 1.8, see docs/upgrading.md"})
				}
			}
			var list admissionv1.MutatingWebhookConfigurationList
			if _, err := s.List(ctx, &list); err != nil {
				return append(found, cluster.ReadFailure(err, listWebhooks)...)
			}
			return cluster.LimitFindings(append(found, orphanedWebhooks(list.Items, installations)...))
		}}
}

// orphanedWebhooks returns a finding for each webhook of akv2k8s whose env-injector does not exist.
func orphanedWebhooks(all []admissionv1.MutatingWebhookConfiguration,
	installations []*cluster.Installation) []doctor.Finding {
	var found []doctor.Finding
	for _, configuration := range all {
		for _, webhook := range configuration.Webhooks {
			service := webhook.ClientConfig.Service
			if webhook.Name != cluster.WebhookName || service == nil {
				continue
			}
			if slices.ContainsFunc(installations, func(i *cluster.Installation) bool {
				// The check of the configuration reports another Service in that of an installation.
				return i.Injector != nil && (i.InjectorName() == configuration.Name ||
					i.Namespace == service.Namespace && i.InjectorName() == service.Name)
			}) {
				continue
			}
			found = append(found, doctor.Finding{Severity: doctor.Error,
				Object: "mutatingwebhookconfiguration/" + configuration.Name,
				What: "it is left of an installation that does not exist any more: its Service is " +
					service.Namespace +
					"/" + service.Name,
				Why:     "the API server rejects pods with references, because it can't call the webhook",
				Try:     "delete it",
				Command: "kubectl delete mutatingwebhookconfiguration " + configuration.Name})
		}
	}
	return found
}
