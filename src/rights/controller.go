package rights

const apiGroup = "spv.no"

// ControllerRoles returns the roles of the controller.
func ControllerRoles() []Role {
	return []Role{
		{ID: "controller-sync", Name: controllerPlaceholder + "-sync", Scope: ScopeWatched,
			Rules: controllerSyncRules()},
		{ID: "controller", Name: controllerPlaceholder, Scope: ScopeOwnNamespace, Rules: []Rule{
			{Package: "controller", Groups: "coordination.k8s.io", Resources: "leases", Verbs: "create",
				Reason: "leader election: one replica is active and the others wait"},
			{Package: "controller", Groups: "coordination.k8s.io", Resources: "leases",
				Names: controllerPlaceholder,
				Verbs: "get update", Reason: "the same"},
			{Package: "controller/statushash", Groups: "core", Resources: "secrets",
				Names:  chartPlaceholder + "-status-key",
				Verbs:  "get update",
				Reason: "reads the key of the hashes in statuses, and writes it once"},
			{Package: "controller", Groups: "core events.k8s.io", Resources: "events", Verbs: "create patch",
				Reason: "records the events of leader election, which use the core API"},
		}},
		{ID: "controller-crd", Name: controllerPlaceholder + "-crd-" + namespacePlaceholder, Scope: ScopeCluster,
			Rules: []Rule{
				{Package: "controller/crdupgrade", Groups: "apiextensions.k8s.io",
					Resources: "customresourcedefinitions",
					Names:     "azurekeyvaultsecrets.spv.no", Verbs: "get",
					Reason: "checks that the definition is as new as the controller, which stops if it is not"},
			}},
	}
}

// controllerSyncRules returns the rules for the namespaces with AzureKeyVaultSecrets.
func controllerSyncRules() []Rule {
	return []Rule{
		{Package: "controller", Groups: apiGroup, Resources: "azurekeyvaultsecrets", Verbs: "get list watch",
			Reason: "finds the resources to sync and watches their changes"},
		{Package: "controller", Groups: apiGroup, Resources: "azurekeyvaultsecrets/status", Verbs: "patch",
			Reason: "writes the fields of the status"},
		{Package: "controller/store", Groups: apiGroup, Resources: "azurekeyvaultsecrets/finalizers", Verbs: "update",
			Reason: "sets owner references that block deletion, where the API server checks this right (OpenShift)"},
		{Package: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "get list watch",
			Reason: "compares outputs with the vault and detects edits; it watches only the metadata of its own " +
				"outputs; before a restart, it looks for references in the sources of a pod's environment"},
		{Package: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "create patch",
			Reason: "writes outputs with server-side apply of the keys that it owns"},
		{Package: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "delete",
			Reason: "deletes an output that was renamed, and recreates one that has another type or is immutable"},
		{Package: "controller/rollout", Groups: "apps", Resources: "deployments statefulsets daemonsets",
			Verbs: "get list patch", Condition: "controller.rolloutRestart.enabled",
			Reason: "finds workloads that use an output or refer to a resource, and sets the restart time of those " +
				"that allow it; a ValidatingAdmissionPolicy denies any other change"},
		{Package: "controller/rollout", Groups: "argoproj.io", Resources: "rollouts", Verbs: "get list patch",
			Condition: "controller.rolloutRestart.enabled controller.rolloutRestart.argoRollouts",
			Reason:    "the same for Rollouts of Argo"},
		{Package: "controller", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch",
			Reason: "records events on the resource and counts repetitions"},
	}
}
