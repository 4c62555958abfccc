package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

// Service checks that the webhook's Service exists, has the port of the webhook, and has ready endpoints.
func Service(s *cluster.State) doctor.Check {
	return doctor.Check{Category: category, Name: cluster.CheckService,
		Run: func(ctx context.Context) []doctor.Finding {
			return s.ForEach(ctx, func(i *cluster.Installation) []doctor.Finding {
				if i.Injector == nil {
					return nil
				}
				return checkService(ctx, s, i)
			})
		}}
}

func checkService(ctx context.Context, s *cluster.State, i *cluster.Installation) []doctor.Finding {
	object := "service/" + i.InjectorName()
	var service corev1.Service
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.InjectorName()}, &service)
	switch {
	case apierrors.IsNotFound(err):
		return []doctor.Finding{{Severity: doctor.Error, Object: object, What: "it does not exist",
			Why: "neither the API server nor pods can reach the env-injector", Try: runHelm}}
	case err != nil:
		return cluster.ReadFailure(err, doctor.Right{Verb: "get", Resource: "services", Name: i.InjectorName(),
			Namespace: i.Namespace})
	}
	var slices discoveryv1.EndpointSliceList
	if _, err := s.List(ctx, &slices, client.InNamespace(i.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
		return cluster.ReadFailure(err, doctor.Right{Verb: "list", Group: "discovery.k8s.io",
			Resource: "endpointslices", Namespace: i.Namespace})
	}
	ready, total := countEndpoints(slices.Items)
	if ready == 0 {
		finding := doctor.Finding{Severity: doctor.Error, Object: object,
			What: fmt.Sprintf("none of its %d endpoints is ready", total),
			Why:  "the API server rejects pods with references, and running pods get no values",
			Try:  fmt.Sprintf("see the pods with: kubectl -n %s describe deployment %s", i.Namespace, i.InjectorName()),
			// A pod that is not ready has no ready endpoint.
			EffectOf: []string{cluster.CheckReadiness}}
		if total == 0 {
			finding.What = "it has no endpoints"
			finding.Why = "no pod of the env-injector runs, or the selector of the Service matches none"
		}
		return []doctor.Finding{finding}
	}
	return nil
}

// countEndpoints counts the addresses of all endpoints, and those that are ready.
func countEndpoints(slices []discoveryv1.EndpointSlice) (ready, total int) {
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			total += len(e.Addresses)
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready += len(e.Addresses)
			}
		}
	}
	return ready, total
}
