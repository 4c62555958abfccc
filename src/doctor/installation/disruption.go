package installation

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

// Disruption checks that the env-injector survives the loss of a pod, and that budgets allow drains of nodes.
func Disruption(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: "replicas and PodDisruptionBudgets allow drains of nodes",
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				var found []doctor.Finding
				if d := i.Injector; d != nil && replicasOf(d) == 1 {
					found = append(found, doctor.Finding{Severity: doctor.Warning, Object: "deployment/" + d.Name,
						What: "it has one replica", Why: "while its pod is replaced, pods with references can't start",
						Try: "set env_injector.replicaCount to 2"})
				}
				right := doctor.Right{Verb: "list", Group: "policy", Resource: "poddisruptionbudgets",
					Namespace: i.Namespace}
				var budgets policyv1.PodDisruptionBudgetList
				if _, err := s.List(ctx, &budgets, client.InNamespace(i.Namespace)); err != nil {
					return append(found, cluster.ReadFailure(err, right)...)
				}
				for _, d := range i.Deployments() {
					found = append(found, checkBudgets(d, budgets.Items)...)
				}
				return found
			})
		}}
}

func replicasOf(d *appsv1.Deployment) int {
	if d.Spec.Replicas == nil {
		return 1
	}
	return int(*d.Spec.Replicas)
}

// checkBudgets returns a finding for a budget that never allows the eviction of a pod.
func checkBudgets(d *appsv1.Deployment, budgets []policyv1.PodDisruptionBudget) []doctor.Finding {
	var found []doctor.Finding
	for _, budget := range budgets {
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			continue
		}
		replicas := replicasOf(d)
		blocks := false
		if least := budget.Spec.MinAvailable; least != nil {
			n, err := intstr.GetScaledValueFromIntOrPercent(least, replicas, true)
			blocks = err == nil && n >= replicas
		}
		if most := budget.Spec.MaxUnavailable; most != nil {
			n, err := intstr.GetScaledValueFromIntOrPercent(most, replicas, true)
			blocks = err == nil && n == 0
		}
		if blocks {
			found = append(found, doctor.Finding{Severity: doctor.Warning, Object: "poddisruptionbudget/" + budget.Name,
				What: fmt.Sprintf("it never allows to evict one of the %d pods of %s", replicas, d.Name),
				Why:  "drains of nodes and upgrades of the cluster wait for it",
				Try:  "set podDisruptionBudget.maxUnavailable to 1, or add a replica"})
		}
	}
	return found
}
