package platform

import (
	"context"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
)

const preCategory = "Before the installation"

// InstallRights checks that the user may create what the chart with default values has.
func InstallRights(s *cluster.State) doctor.Check {
	return doctor.Check{Category: preCategory, Name: "you may create the objects of the chart",
		Run: func(ctx context.Context) []doctor.Finding {
			missing, err := s.MissingRights(ctx, rightsToInstall(s.SystemNamespace))
			if err != nil {
				return []doctor.Finding{doctor.FromError("", err)}
			}
			var found []doctor.Finding
			for _, right := range missing {
				found = append(found, doctor.Finding{Severity: doctor.Error,
					What: "you don't have the right to " + right.String(), Why: "the chart has such objects",
					Try: "let an administrator of the cluster install the chart; a team without rights in the " +
						"cluster can install the controller alone, see examples/namespaced"})
			}
			return found
		}}
}

// rightsToInstall returns the rights to create each kind of object in the chart with default values.
func rightsToInstall(namespace string) []doctor.Right {
	var all []doctor.Right
	for _, cluster := range []struct{ group, resource string }{
		{"apiextensions.k8s.io", "customresourcedefinitions"},
		{"rbac.authorization.k8s.io", "clusterroles"},
		{"rbac.authorization.k8s.io", "clusterrolebindings"},
		{"admissionregistration.k8s.io", "mutatingwebhookconfigurations"},
		{"admissionregistration.k8s.io", "validatingadmissionpolicies"},
		{"admissionregistration.k8s.io", "validatingadmissionpolicybindings"},
	} {
		all = append(all, doctor.Right{Verb: "create", Group: cluster.group, Resource: cluster.resource})
	}
	for _, own := range []struct{ group, resource string }{
		{"", "secrets"}, {"", "configmaps"}, {"", "services"}, {"", "serviceaccounts"}, {"apps", "deployments"},
		{"batch", "jobs"}, {"policy", "poddisruptionbudgets"}, {"rbac.authorization.k8s.io", "roles"},
		{"rbac.authorization.k8s.io", "rolebindings"},
	} {
		all = append(all, doctor.Right{Verb: "create", Group: own.group, Resource: own.resource, Namespace: namespace})
	}
	return all
}
