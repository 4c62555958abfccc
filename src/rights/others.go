package rights

// Hooks are the roles of the Jobs of an install or upgrade.
func Hooks() []Role {
	return []Role{
		{ID: "crds", Name: crds + "-" + namespace, Scope: Cluster, Rules: []Rule{
			{By: "controller/definition", Groups: "apiextensions.k8s.io", Resources: "customresourcedefinitions",
				Names: "azurekeyvaultsecrets.spv.no", Verbs: "get create patch",
				Why: "brings this one definition up to date, by server-side apply, which asks for create where it is " +
					"missing"},
		}},
		{ID: "inherit", Name: injector + "-inherit", Scope: Own, Rules: []Rule{
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-ca", Verbs: "get patch",
				Why: "copies the certificate of the CA of 1.8, and has Helm keep its Secret"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-tls", Verbs: "get patch",
				When: "!" + customCertificate,
				Why:  "the same for the serving certificate of 1.8; a custom certificate has a Secret of that name"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving", Verbs: "get",
				Why: "is this the first upgrade from 1.8?"},
			{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving-predecessor",
				Verbs: "create patch",
				Why:   "where the copy goes, by server-side apply, which asks for create"},
		}},
	}
}

// Both are the roles that controller and env-injector share.
func Both() []Role {
	const identity, room = chart + "-identity", "keyvault/serviceaccount"
	return []Role{
		{ID: "identity", Name: identity, Scope: Tenants, When: "identity.serviceAccounts", Rules: []Rule{
			{By: room, Groups: "core", Resources: "serviceaccounts", Names: accounts, Verbs: "get",
				Why: "which identity does the ServiceAccount stand for?"},
			{By: room, Groups: "core", Resources: "serviceaccounts/token", Names: accounts, Verbs: "create",
				Why: "a token to exchange in Entra ID; a ValidatingAdmissionPolicy refuses any other audience"},
		}},
		{ID: "identity-all", Name: identity, Scope: Cluster, When: "identity.allNamespaces", Rules: []Rule{
			{By: room, Groups: "core", Resources: "serviceaccounts", Verbs: "get",
				Why: "as above, for every ServiceAccount"},
			{By: room, Groups: "core", Resources: "serviceaccounts/token", Verbs: "create",
				Why: "as above, bound by the same policy"},
		}},
	}
}

// Pods are the roles of pods that read for themselves.
func Pods() []Role {
	return []Role{{ID: "reader", Name: injector + "-reader", Scope: Watched, Rules: []Rule{
		{By: "injector/akvsclient", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get",
			Why: "the one resource that a reference names; it tells which vault object, and no value"},
	}}}
}
