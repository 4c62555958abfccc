package namespaces

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Resources checks that the AzureKeyVaultSecrets are in sync, and groups those that are not by their cause.
func Resources(s *cluster.State) doctor.Check {
	right := doctor.Right{Verb: "list", Group: wire.Group, Resource: "azurekeyvaultsecrets", Namespace: s.Namespace}
	return doctor.Check{Category: category, Name: "the AzureKeyVaultSecrets are in sync", Needs: []doctor.Right{right},
		Run: func(ctx context.Context) []doctor.Finding {
			var list v2beta1.AzureKeyVaultSecretList
			complete, err := s.List(ctx, &list, client.InNamespace(s.Namespace))
			if err != nil {
				return cluster.ReadFailure(err, right)
			}
			found := append(groupByCause(list.Items), unwatched(list.Items, s.Now())...)
			if len(found) == 0 {
				found = doctor.Passed(fmt.Sprintf("AzureKeyVaultSecrets without an error: %d", len(list.Items)))
			}
			if !complete {
				found = append(found, doctor.Finding{Severity: doctor.OK, What: fmt.Sprintf(
					"only the first %d AzureKeyVaultSecrets were checked", len(list.Items))})
			}
			return cluster.LimitFindings(found)
		}}
}

// groupByCause returns a finding for each reason and message of resources that are not in sync.
func groupByCause(all []v2beta1.AzureKeyVaultSecret) []doctor.Finding {
	names := map[string][]string{}
	conditions := map[string]metav1.Condition{}
	for i := range all {
		for _, kind := range []string{v2beta1.ConditionReady, v2beta1.ConditionContested} {
			c := apimeta.FindStatusCondition(all[i].Status.Conditions, kind)
			if c == nil || (c.Status == metav1.ConditionTrue) != (kind == v2beta1.ConditionContested) {
				continue
			}
			key := c.Reason + " " + c.Message
			conditions[key] = *c
			names[key] = append(names[key], all[i].Namespace+"/"+all[i].Name)
		}
	}
	var found []doctor.Finding
	for key, c := range conditions {
		cause, next := splitMessage(c.Message)
		who := names[key]
		object := "akvs " + strings.Join(who[:min(3, len(who))], ", ")
		if len(who) > 3 {
			object += fmt.Sprintf(" and %d more", len(who)-3)
		}
		severity := doctor.Error
		if c.Type == v2beta1.ConditionContested {
			severity = doctor.Warning
		}
		found = append(found, doctor.Finding{Severity: severity, Object: object, What: c.Reason + ": " + cause,
			Try: next})
	}
	slices.SortFunc(found, func(a, b doctor.Finding) int { return strings.Compare(a.Object+a.What, b.Object+b.What) })
	return found
}

// unwatchedAge is the age from which a resource must have a status.
const unwatchedAge = 2 * time.Minute

// unwatched returns a finding if resources with outputs have no conditions: no controller has read them.
func unwatched(all []v2beta1.AzureKeyVaultSecret, now time.Time) []doctor.Finding {
	var names []string
	for i := range all {
		if len(all[i].Status.Conditions) == 0 && all[i].Spec.Output != nil &&
			now.Sub(all[i].CreationTimestamp.Time) > unwatchedAge {
			names = append(names, all[i].Namespace+"/"+all[i].Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	object := "akvs " + strings.Join(names[:min(3, len(names))], ", ")
	if len(names) > 3 {
		object += fmt.Sprintf(" and %d more", len(names)-3)
	}
	return []doctor.Finding{{Severity: doctor.Error, Object: object, What: "no controller has read it",
		Why:      "the controller does not run, or does not watch the namespace or the labels of the resource",
		Try:      "see the checks of the pods, and the values watchAllNamespaces and controller.env.OBJECT_LABELS",
		EffectOf: []string{cluster.CheckReadiness, cluster.CheckAccess, cluster.CheckDefinition}}}
}

// splitMessage splits the message of a condition into cause and next step.
func splitMessage(text string) (cause, next string) {
	cause, next, _ = strings.Cut(text, "; ")
	return cluster.ShortMessage(cause), cluster.ShortMessage(next)
}
