package rights

// Paths of chart values that rules of the env-injector depend on.
const (
	authService       = "env_injector.authService"
	certManager       = "env_injector.certificate.useCertManager"
	customCertificate = "env_injector.certificate.custom.enabled"
)

// Injector returns the roles of the env-injector.
func Injector() []Role {
	return []Role{
		{ID: "injector-cluster", Name: injector, Scope: Cluster, Rules: everywhere()},
		{ID: "injector-inject", Name: injector + "-inject", Scope: Watched, Rules: []Rule{
			{By: "broker", Groups: "core", Resources: "pods", Verbs: "get", When: authService,
				Why: "reads the pod that requests values, to authorize its references"},
			{By: "webhook", Groups: "core", Resources: "limitranges", Verbs: "list",
				Why: "the init container must satisfy the LimitRanges of the pod's namespace"},
			{By: "broker", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch", When: authService,
				Why: "records an event on a pod that got a stale value, or that akv2k8s 1.8 injected and that " +
					"must be recreated"},
			{By: "broker", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get list watch", When: authService,
				Why: "reads the resources that references name"},
		}},
		{ID: "injector-sources", Name: injector + "-sources", Scope: Watched, Narrow: "env_injector.sourceNamespaces",
			Rules: []Rule{
				{By: "webhook", Groups: "core", Resources: "configmaps", Verbs: "get",
					Why: "reads the sources of a pod's environment, which can hold references; once, by name, " +
						"when the pod is created"},
				{By: "webhook", Groups: "core", Resources: "secrets", Verbs: "get",
					Why: "the same, and pull secrets, to read the entrypoint of the pod's image"},
			}},
		{ID: "injector", Name: injector, Scope: Own, Rules: own()},
		{ID: "injector-legacy", Name: injector + "-legacy", Scope: Watched,
			Narrow: "env_injector.legacyAuthService.namespaces", When: "env_injector.legacyAuthService.enabled",
			Rules: []Rule{{By: "broker/legacy", Groups: "core", Resources: "secrets", Verbs: "get patch",
				Why: "reads the Secrets that 1.8 created for its pods, to verify their client certificates, and " +
					"writes a CA into them; a ValidatingAdmissionPolicy denies any other change"}}},
		{ID: "injector-legacy-ca", Name: injector + "-legacy-ca", Scope: Own,
			When: "env_injector.legacyAuthService.enabled", Rules: []Rule{
				{By: "broker/legacy", Groups: "core", Resources: "secrets", Names: injector + "-ca", Verbs: "get",
					Why: "reads the CA that pods of 1.8 trust"},
			}},
	}
}

// everywhere returns the rules for cluster-scoped objects and for objects outside the release's namespace.
func everywhere() []Rule {
	const addresses = "reads the API server's addresses, which it never uses as a registry and whose requests it " +
		"does not limit; by name in all namespaces, so that the chart needs no object in another one"
	return []Rule{
		{By: "broker", Groups: "authentication.k8s.io", Resources: "tokenreviews", Verbs: "create", When: authService,
			Why: "verifies the token of a pod"},
		{By: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injector, Verbs: "get list watch",
			Why: "checks the CA in its own webhook configuration, and whether it manages that CA"},
		{By: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injector, Verbs: "patch",
			When: "!" + certManager + " !" + customCertificate,
			Why:  "writes the CA into its own webhook configuration and repairs it"},
		{By: "webhook", Groups: "core", Resources: "namespaces", Alone: namespace, Verbs: "get",
			Why: "checks that injection is enabled in the pod's namespace; the auth service does the same"},
		{By: "cmd/envinjector", Groups: "core", Resources: "services", Names: "kubernetes", Verbs: "get",
			Why: addresses},
		{By: "cmd/envinjector", Groups: "discovery.k8s.io", Resources: "endpointslices", Names: "kubernetes",
			Verbs: "get", Why: "the same"},
	}
}

// own returns the rules for objects in the release's namespace.
func own() []Rule {
	return []Rule{
		{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving",
			Verbs: "get list watch update", Why: "reads and writes the CA that all replicas share"},
		{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving-predecessor",
			Verbs: "get delete",
			Why:   "reads the CA certificate of 1.8, and deletes it when no replica of 1.8 is left"},
		{By: "cmd/envinjector", Groups: "apps", Resources: "deployments", Names: injector, Verbs: "get",
			Why: "checks during an upgrade whether replicas of 1.8 are left, whose CA must be trusted"},
		{By: "cmd/envinjector", Groups: "core", Resources: "services", Names: injector, Verbs: "get", When: authService,
			Why: "reads the IP address that pods dial first"},
	}
}
