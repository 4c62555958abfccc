package rights

// HookRoles returns the roles of the hook Jobs of an install or upgrade.
func HookRoles() []Role {
	return []Role{
		{ID: "crds", Name: crdsPlaceholder + "-" + namespacePlaceholder, Scope: ScopeCluster, Rules: []Rule{
			{Package: "controller/crdupgrade", Groups: "apiextensions.k8s.io", Resources: "customresourcedefinitions",
				Names: "azurekeyvaultsecrets.spv.no", Verbs: "get create patch",
				Reason: "updates this definition with server-side apply, which needs create if the definition does " +
					"not exist"},
		}},
		v1CAMigrationRole(),
	}
}

// SharedRoles returns the roles that the controller and the env-injector share.
func SharedRoles() []Role {
	const identity, room = chartPlaceholder + "-identity", "keyvault/serviceaccount"
	return []Role{
		{ID: "identity", Name: identity, Scope: ScopeTenants, Condition: "identity.serviceAccounts", Rules: []Rule{
			{Package: room, Groups: "core", Resources: "serviceaccounts", Names: accountsPlaceholder, Verbs: "get",
				Reason: "reads the identity in the annotations of the ServiceAccount"},
			{Package: room, Groups: "core", Resources: "serviceaccounts/token", Names: accountsPlaceholder,
				Verbs: "create",
				Reason: "requests a token to exchange in Entra ID; a ValidatingAdmissionPolicy denies any other " +
					"audience"},
		}},
		{ID: "identity-all", Name: identity, Scope: ScopeCluster, Condition: "identity.allNamespaces", Rules: []Rule{
			{Package: room, Groups: "core", Resources: "serviceaccounts", Verbs: "get",
				Reason: "as above, for every ServiceAccount"},
			{Package: room, Groups: "core", Resources: "serviceaccounts/token", Verbs: "create",
				Reason: "as above, restricted by the same policy"},
		}},
	}
}

// PodRoles returns the roles of injected pods that read vaults with their own credentials.
func PodRoles() []Role {
	return []Role{{ID: "reader", Name: injectorPlaceholder + "-reader", Scope: ScopeWatched, Rules: []Rule{
		{Package: "injector/akvsclient", Groups: apiGroup, Resources: "azurekeyvaultsecrets", Verbs: "get",
			Reason: "reads the resource that a reference names; it holds the name of a vault object, and no value"},
	}}}
}
