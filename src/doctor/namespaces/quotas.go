package namespaces

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/limits"
)

// Quotas checks that the ResourceQuotas of the namespaces with outputs or injected pods are not used up.
func Quotas(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckQuotas,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEachServing(ctx, func(i *cluster.Installation) []doctor.Finding {
				all, problem := s.InjectedNamespaces(ctx, i)
				if problem != nil {
					return problem
				}
				var found []doctor.Finding
				for _, namespace := range all[:min(len(all), limits.DoctorNamespaces)] {
					var quotas corev1.ResourceQuotaList
					if err := s.ListIn(ctx, &quotas, namespace.Name); err != nil {
						return append(found, cluster.ReadFailure(err, doctor.Right{Verb: "list",
							Resource: "resourcequotas", Namespace: namespace.Name})...)
					}
					found = append(found, usedUp(quotas.Items)...)
				}
				return found
			})
		}}
}

// usedUp returns a finding for each quota that allows no further pod or Secret.
func usedUp(quotas []corev1.ResourceQuota) []doctor.Finding {
	inTheWay := []corev1.ResourceName{corev1.ResourcePods, "count/pods", corev1.ResourceSecrets, "count/secrets",
		corev1.ResourceConfigMaps, "count/configmaps", corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceCPU, corev1.ResourceMemory}
	var found []doctor.Finding
	for _, quota := range quotas {
		var full []string
		for name, hard := range quota.Status.Hard {
			used, known := quota.Status.Used[name]
			if known && slices.Contains(inTheWay, name) && used.Cmp(hard) >= 0 {
				full = append(full, fmt.Sprintf("%s (%s of %s)", name, used.String(), hard.String()))
			}
		}
		if len(full) > 0 {
			slices.Sort(full)
			found = append(found, doctor.Finding{Severity: doctor.Warning,
				Object: "resourcequota/" + quota.Name + " in " + quota.Namespace,
				What:   "it is used up: " + strings.Join(full, ", "),
				Why:    "new pods, or the Secrets of new resources, are denied",
				Try:    "raise the quota, or remove objects"})
		}
	}
	return found
}
