package rights

const ours = "spv.no"

// Controller are the roles of the controller.
func Controller() []Role {
	return []Role{
		{ID: "controller-sync", Name: controller + "-sync", Scope: Watched, Rules: sync()},
		{ID: "controller", Name: controller, Scope: Own, Rules: []Rule{
			{By: "cmd/controller", Groups: "coordination.k8s.io", Resources: "leases", Verbs: "create",
				Why: "one replica works, and the others wait"},
			{By: "cmd/controller", Groups: "coordination.k8s.io", Resources: "leases", Names: controller,
				Verbs: "get update", Why: "the same"},
			{By: "controller/fingerprint", Groups: "core", Resources: "secrets", Names: chart + "-status-key",
				Verbs: "get update",
				Why:   "the key of the hashes in statuses, filled once"},
			{By: "cmd/controller", Groups: "core events.k8s.io", Resources: "events", Verbs: "create patch",
				Why: "who leads, which is recorded in the old API"},
		}},
		{ID: "controller-crd", Name: controller + "-crd-" + namespace, Scope: Cluster, Rules: []Rule{
			{By: "controller/definition", Groups: "apiextensions.k8s.io", Resources: "customresourcedefinitions",
				Names: "azurekeyvaultsecrets.spv.no", Verbs: "get",
				Why: "is the definition as new as the controller? If not, it says so and stops"},
		}},
	}
}

// sync is what is needed where resources are.
func sync() []Rule {
	return []Rule{
		{By: "controller", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get list watch",
			Why: "what is to be synced, and that it changed"},
		{By: "controller", Groups: ours, Resources: "azurekeyvaultsecrets/status", Verbs: "patch",
			Why: "says how it went, field by field"},
		{By: "controller/store", Groups: ours, Resources: "azurekeyvaultsecrets/finalizers", Verbs: "update",
			Why: "sets owner references that block deletion, where the API server checks that (OpenShift)"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "get list watch",
			Why: "compares an output with the vault, and sees that it was edited; what is watched is the metadata of " +
				"our own outputs"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "create patch",
			Why: "writes an output, by server-side apply of the keys that are ours"},
		{By: "controller/store", Groups: "core", Resources: "secrets configmaps", Verbs: "delete",
			Why: "an output that was renamed, has another type or is immutable is made anew"},
		{By: "controller/rollout", Groups: "apps", Resources: "deployments statefulsets daemonsets",
			Verbs: "get list patch", When: "controller.rolloutRestart.enabled",
			Why: "finds workloads that use an output and allow restarts, and sets the time of one; a " +
				"ValidatingAdmissionPolicy refuses any other change"},
		{By: "controller", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch",
			Why: "tells at the resource what happened, and counts repetitions"},
	}
}
