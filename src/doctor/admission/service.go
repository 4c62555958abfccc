package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
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
	if finding := checkPorts(ctx, s, i, &service); finding != nil {
		finding.Object = object
		return []doctor.Finding{*finding}
	}
	var endpoints discoveryv1.EndpointSliceList
	if _, err := s.List(ctx, &endpoints, client.InNamespace(i.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
		return cluster.ReadFailure(err, doctor.Right{Verb: "list", Group: "discovery.k8s.io",
			Resource: "endpointslices", Namespace: i.Namespace})
	}
	ready, total := countEndpoints(endpoints.Items)
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

// checkPorts returns a finding without an object if a port of the Service leads to no port of the env-injector, or if
// the Service does not have the port that the API server calls; nil otherwise.
func checkPorts(ctx context.Context, s *cluster.State, i *cluster.Installation,
	service *corev1.Service) *doctor.Finding {
	container := cluster.Container(i.Injector)
	if container == nil {
		return nil
	}
	for _, port := range service.Spec.Ports {
		if !hasPort(container, port) {
			return &doctor.Finding{Severity: doctor.Error, What: fmt.Sprintf("its port %d leads to port %s, which the "+
				"container %s does not have", port.Port, port.TargetPort.String(), container.Name),
				Why: "connections to this port are refused", Try: runHelm}
		}
	}
	_, webhook, _ := readWebhook(ctx, s, i)
	if webhook == nil || webhook.ClientConfig.Service == nil || webhook.ClientConfig.Service.Name != service.Name ||
		webhook.ClientConfig.Service.Namespace != service.Namespace {
		return nil // the check of the configuration reports it
	}
	called := ptr.Deref(webhook.ClientConfig.Service.Port, 443)
	if slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == called }) {
		return nil
	}
	return &doctor.Finding{Severity: doctor.Error, What: fmt.Sprintf("it does not have port %d, which the API server "+
		"calls", called), Why: "the API server rejects pods with references, because it can't call the webhook",
		Try: runHelm}
}

// hasPort reports whether the container has the target of a port of a Service.
func hasPort(c *corev1.Container, port corev1.ServicePort) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		switch {
		case port.TargetPort.Type == intstr.String:
			return p.Name == port.TargetPort.StrVal
		case port.TargetPort.IntVal == 0:
			return p.ContainerPort == port.Port
		}
		return p.ContainerPort == port.TargetPort.IntVal
	})
}

// countEndpoints counts the addresses of all endpoints, and those that are ready.
func countEndpoints(all []discoveryv1.EndpointSlice) (ready, total int) {
	for _, slice := range all {
		for _, e := range slice.Endpoints {
			total += len(e.Addresses)
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready += len(e.Addresses)
			}
		}
	}
	return ready, total
}
