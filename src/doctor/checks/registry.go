package checks

import (
	"strings"

	"github.com/akv2k8s/akv2k8s/src/doctor"
	"github.com/akv2k8s/akv2k8s/src/doctor/admission"
	"github.com/akv2k8s/akv2k8s/src/doctor/cluster"
	"github.com/akv2k8s/akv2k8s/src/doctor/installation"
	"github.com/akv2k8s/akv2k8s/src/doctor/namespaces"
	"github.com/akv2k8s/akv2k8s/src/doctor/object"
	"github.com/akv2k8s/akv2k8s/src/doctor/platform"
	"github.com/akv2k8s/akv2k8s/src/fault"
)

// constructor creates a check of a run.
type constructor func(*cluster.State) doctor.Check

// installed are the checks of an installation.
func installed() []constructor {
	return []constructor{
		platform.APIServer,
		platform.Clock,
		platform.Nodes,
		platform.NodeClocks,
		installation.Presence,
		installation.Definition,
		installation.Images,
		installation.Readiness,
		installation.Access,
		installation.Leftovers,
		installation.Disruption,
		admission.Configuration,
		admission.Service,
		admission.Bundle,
		admission.Serving,
		admission.Others,
		namespaces.Injection,
		namespaces.Delivery,
		namespaces.Quotas,
		namespaces.NetworkPolicies,
		namespaces.Resources,
		namespaces.Workloads,
	}
}

// before are the checks before an installation.
func before() []constructor {
	return []constructor{
		platform.APIServer,
		platform.Clock,
		platform.Nodes,
		platform.NodeClocks,
		platform.InstallRights,
		platform.OwnPods,
		installation.DefinitionBefore,
		installation.NoOther,
		installation.LeftoversBefore,
	}
}

// objects are the checks of one object, by the kinds as users write them.
func objects() map[string]func(*cluster.State, string) doctor.Check {
	return map[string]func(*cluster.State, string) doctor.Check{
		"akvs": object.Resource, "azurekeyvaultsecret": object.Resource, "azurekeyvaultsecrets": object.Resource,
		"pod": object.Pod, "pods": object.Pod, "po": object.Pod,
	}
}

// Installed returns the checks of the cluster, or of the namespace of the State.
func Installed(s *cluster.State) []doctor.Check { return create(s, installed()) }

// Before returns the checks before an installation.
func Before(s *cluster.State) []doctor.Check { return create(s, before()) }

// Object returns the check of one object, which is written as KIND/NAME.
func Object(s *cluster.State, text string) (doctor.Check, error) {
	kind, name, found := strings.Cut(text, "/")
	newCheck := objects()[strings.ToLower(kind)]
	if !found || name == "" || newCheck == nil {
		return doctor.Check{}, fault.NewWithNextStep(fault.Invalid, "write akvs/NAME or pod/NAME",
			"%q is not an AzureKeyVaultSecret or a pod", text)
	}
	return newCheck(s, name), nil
}

func create(s *cluster.State, constructors []constructor) []doctor.Check {
	all := make([]doctor.Check, 0, len(constructors))
	for _, newCheck := range constructors {
		all = append(all, newCheck(s))
	}
	return all
}
