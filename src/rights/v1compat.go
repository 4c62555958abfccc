package rights

// v1AuthServiceRoles returns the roles for the auth protocol of akv2k8s 1.8.
func v1AuthServiceRoles() []Role {
	return []Role{
		{ID: "injector-legacy", Name: injectorPlaceholder + "-legacy", Scope: ScopeWatched,
			NamespacesValue: "env_injector.legacyAuthService.namespaces",
			Condition:       "env_injector.legacyAuthService.enabled",
			Rules: []Rule{{Package: "v1compat/authservice", Groups: "core", Resources: "secrets", Verbs: "get patch",
				Reason: "reads the Secrets that 1.8 created for its pods, to verify their client certificates, and " +
					"writes a CA into them; a ValidatingAdmissionPolicy denies any other change"}}},
		{ID: "injector-legacy-ca", Name: injectorPlaceholder + "-legacy-ca", Scope: ScopeOwnNamespace,
			Condition: "env_injector.legacyAuthService.enabled", Rules: []Rule{
				{Package: "v1compat/authservice", Groups: "core", Resources: "secrets",
					Names: injectorPlaceholder + "-ca", Verbs: "get",
					Reason: "reads the CA that pods of 1.8 trust"},
			}},
	}
}

// v1CARules returns the rules of the env-injector for the CA of akv2k8s 1.8.
func v1CARules() []Rule {
	return []Rule{
		{Package: "v1compat/ca", Groups: "core", Resources: "secrets",
			Names:  injectorPlaceholder + "-serving-predecessor",
			Verbs:  "get delete",
			Reason: "reads the CA certificate of 1.8, and deletes it when no replica of 1.8 is left"},
		{Package: "v1compat/ca", Groups: "apps", Resources: "deployments", Names: injectorPlaceholder, Verbs: "get",
			Reason: "checks during an upgrade whether replicas of 1.8 are left, whose CA must be trusted"},
	}
}

// v1CAMigrationRole returns the role of the hook Job that copies the CA of akv2k8s 1.8.
func v1CAMigrationRole() Role {
	return Role{ID: "inherit", Name: injectorPlaceholder + "-inherit", Scope: ScopeOwnNamespace, Rules: []Rule{
		{Package: "v1compat/ca", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-ca",
			Verbs:  "get patch",
			Reason: "copies the CA certificate of 1.8, and annotates its Secret so that Helm keeps it"},
		{Package: "v1compat/ca", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-tls",
			Verbs:     "get patch",
			Condition: "!" + customCertificateValue,
			Reason: "the same for the serving certificate of 1.8; a custom certificate uses a Secret of that " +
				"name"},
		{Package: "v1compat/ca", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-serving",
			Verbs:  "get",
			Reason: "checks whether this is the first upgrade from 1.8"},
		{Package: "v1compat/ca", Groups: "core", Resources: "secrets",
			Names:  injectorPlaceholder + "-serving-predecessor",
			Verbs:  "create patch",
			Reason: "writes the copy with server-side apply, which needs create"},
	}}
}
