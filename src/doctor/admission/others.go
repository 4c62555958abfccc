package admission

import (
	"context"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

var listWebhooks = doctor.Right{Verb: "list", Group: "admissionregistration.k8s.io",
	Resource: "mutatingwebhookconfigurations"}

// Others checks that webhooks which run after ours can't undo the injection unseen. The API server calls webhooks in
// the order of the names of their configurations.
func Others(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "the webhook sees what later webhooks change",
		Needs: []doctor.Right{listWebhooks},
		Run: func(ctx context.Context) []doctor.Finding {
			var list admissionv1.MutatingWebhookConfigurationList
			if _, err := s.List(ctx, &list); err != nil {
				return cluster.ReadFailure(err, listWebhooks)
			}
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				return checkOthers(i, list.Items)
			})
		}}
}

func checkOthers(i *cluster.Installation, all []admissionv1.MutatingWebhookConfiguration) []doctor.Finding {
	own := i.InjectorName()
	var later []string
	reinvoked := true
	for _, configuration := range all {
		for _, w := range configuration.Webhooks {
			switch {
			case configuration.Name == own && w.Name == cluster.WebhookName:
				reinvoked = w.ReinvocationPolicy != nil &&
					*w.ReinvocationPolicy == admissionv1.IfNeededReinvocationPolicy
			case configuration.Name > own && coversPods(w.Rules):
				later = append(later, configuration.Name)
			}
		}
	}
	switch {
	case len(later) == 0 || i.Injector == nil || i.IsV1():
		return nil
	case !reinvoked:
		return []doctor.Finding{{Severity: doctor.Warning, Object: "mutatingwebhookconfiguration/" + own,
			What: "it is not called again after webhooks that run later: " + strings.Join(later, ", "),
			Why:  "containers that these add are not injected, and they can replace commands", Try: runHelm}}
	}
	return doctor.Passed(fmt.Sprintf("webhooks that change pods later: %s; ours is called again after them",
		strings.Join(later, ", ")))
}
