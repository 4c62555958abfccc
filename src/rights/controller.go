package rights

const ours = "spv.no"

// Controller returns the roles of the controller.
func Controller() []Role {
	return []Role{
		{ID: "controller-sync", Name: controller + "-sync", Scope: Watched, Rules: sync()},
		{ID: "controller", Name: controller, Scope: Own, Rules: []Rule{
			{By: "cmd/controller", Groups: "coordination.k8s.io", Resources: "leases", Verbs: "create",
				Why: "leader election: one replica is active and the others wait"},
			{By: "cmd/controller", Groups: "coordination.k8s.io", Resources: "leases", Names: controller,
				Verbs: "get update", Why: "the same"},
			{By: "controller/fingerprint", Groups: "core", Resources: "secrets", Names: chart + "-status-key",
				Verbs: "get update",
				Why:   "reads the key of the hashes in statuses, and writes it once"},
			{By: "cmd/controller", Groups: "core events.k8s.io", Resources: "events", Verbs: "create patch",
				Why: "records the events of leader election, which use the core API"},
		}},
		{ID: "controller-crd", Name: controller + "-crd-" + namespace, Scope: Cluster, Rules: []Rule{
			{By: "controller/definition", Groups: "apiextensions.k8s.io", Resources: "customresourcedefinitions",
				Names: "azurekeyvaultsecrets.spv.no", Verbs: "get",
				Why: "checks that the definition is as new as the controller, which stops if it is not"},
		}},
	}
}

// sync returns the rules for the namespaces with AzureKeyVaultSecrets.
func sync() []Rule {
	return []Rule{
		{By: "controller", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get list watch",
			Why: "finds the resources to sync and watches their changes"},
		{By: "controller", Groups: ours, Resources: "azurekeyvaultsecrets/status", Verbs: "patch",
			Why: "writes the fields of the status"},
		{By: "controller/store", Groups: ours, Resources: "azurekeyvaultsecrets/finalizers", Verbs: "update",
			Why: "sets owner references that block deletion, where the API server checks this right (OpenShift)"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "get list watch",
			Why: "compares outputs with the vault and detects edits; it watches only the metadata of its own " +
				"outputs"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "create patch",
			Why: "writes outputs with server-side apply of the keys that it owns"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "delete",
			Why: "deletes an output that was renamed, and recreates one that has another type or is immutable"},
		{By: "controller/rollout", Groups: "apps", Resources: "deployments statefulsets daemonsets",
			Verbs: "get list patch", When: "controller.rolloutRestart.enabled",
			Why: "finds workloads that use an output and allow restarts, and sets their restart time; a " +
				"ValidatingAdmissionPolicy denies any other change"},
		{By: "controller", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch",
			Why: "records events on the resource and counts repetitions"},
	}
}
