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
		{ID: "inherit", Name: injectorPlaceholder + "-inherit", Scope: ScopeOwnNamespace, Rules: []Rule{
			{Package: "servingcert", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-ca",
				Verbs:  "get patch",
				Reason: "copies the CA certificate of 1.8, and annotates its Secret so that Helm keeps it"},
			{Package: "servingcert", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-tls",
				Verbs:     "get patch",
				Condition: "!" + customCertificateValue,
				Reason: "the same for the serving certificate of 1.8; a custom certificate uses a Secret of that " +
					"name"},
			{Package: "servingcert", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-serving",
				Verbs:  "get",
				Reason: "checks whether this is the first upgrade from 1.8"},
			{Package: "servingcert", Groups: "core", Resources: "secrets",
				Names:  injectorPlaceholder + "-serving-predecessor",
				Verbs:  "create patch",
				Reason: "writes the copy with server-side apply, which needs create"},
		}},
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
