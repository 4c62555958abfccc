package rights

// Hooks returns the roles of the hook Jobs of an install or upgrade.
func Hooks() []Role {
	return []Role{
		{ID: "crds", Name: crds + "-" + namespace, Scope: Cluster, Rules: []Rule{
			{By: "controller/definition", Groups: "apiextensions.k8s.io", Resources: "customresourcedefinitions",
				Names: "azurekeyvaultsecrets.spv.no", Verbs: "get create patch",
				Why: "updates this definition with server-side apply, which needs create if the definition does " +
					"not exist"},
		}},
		{ID: "inherit", Name: injector + "-inherit", Scope: Own, Rules: []Rule{
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-ca", Verbs: "get patch",
				Why: "copies the CA certificate of 1.8, and annotates its Secret so that Helm keeps it"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-tls", Verbs: "get patch",
				When: "!" + customCertificate,
				Why: "the same for the serving certificate of 1.8; a custom certificate uses a Secret of that " +
					"name"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving", Verbs: "get",
				Why: "checks whether this is the first upgrade from 1.8"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving-predecessor",
				Verbs: "create patch",
				Why:   "writes the copy with server-side apply, which needs create"},
		}},
	}
}

// Both returns the roles that the controller and the env-injector share.
func Both() []Role {
	const identity, room = chart + "-identity", "keyvault/serviceaccount"
	return []Role{
		{ID: "identity", Name: identity, Scope: Tenants, When: "identity.serviceAccounts", Rules: []Rule{
			{By: room, Groups: "core", Resources: "serviceaccounts", Names: accounts, Verbs: "get",
				Why: "reads the identity in the annotations of the ServiceAccount"},
			{By: room, Groups: "core", Resources: "serviceaccounts/token", Names: accounts, Verbs: "create",
				Why: "requests a token to exchange in Entra ID; a ValidatingAdmissionPolicy denies any other " +
					"audience"},
		}},
		{ID: "identity-all", Name: identity, Scope: Cluster, When: "identity.allNamespaces", Rules: []Rule{
			{By: room, Groups: "core", Resources: "serviceaccounts", Verbs: "get",
				Why: "as above, for every ServiceAccount"},
			{By: room, Groups: "core", Resources: "serviceaccounts/token", Verbs: "create",
				Why: "as above, restricted by the same policy"},
		}},
	}
}

// Pods returns the roles of injected pods that read vaults with their own credentials.
func Pods() []Role {
	return []Role{{ID: "reader", Name: injector + "-reader", Scope: Watched, Rules: []Rule{
		{By: "injector/akvsclient", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get",
			Why: "reads the resource that a reference names; it holds the name of a vault object, and no value"},
	}}}
}
