package rights

// Values that parts of the env-injector depend on.
const (
	authService       = "env_injector.authService"
	certManager       = "env_injector.certificate.useCertManager"
	customCertificate = "env_injector.certificate.custom.enabled"
)

// Injector are the roles of the env-injector.
func Injector() []Role {
	return []Role{
		{ID: "injector-cluster", Name: injector, Scope: Cluster, Rules: everywhere()},
		{ID: "injector-inject", Name: injector + "-inject", Scope: Watched, Rules: []Rule{
			{By: "broker", Groups: "core", Resources: "pods", Verbs: "get", When: authService,
				Why: "the pod that asks for values, read live: what may it ask for?"},
			{By: "webhook", Groups: "core", Resources: "limitranges", Verbs: "list",
				Why: "the init container has to fit into those of the pod's namespace"},
			{By: "broker", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch", When: authService,
				Why: "tells at pods that a value came from memory, and at those that an older version injected that " +
					"they have to be recreated"},
			{By: "broker", Groups: ours, Resources: "azurekeyvaultsecrets", Verbs: "get list watch", When: authService,
				Why: "what references name"},
		}},
		{ID: "injector-sources", Name: injector + "-sources", Scope: Watched, Narrow: "env_injector.sourceNamespaces",
			Rules: []Rule{
				{By: "webhook", Groups: "core", Resources: "configmaps", Verbs: "get",
					Why: "a pod's environment comes from it, and may hold references; read once, by name, when the " +
						"pod is created"},
				{By: "webhook", Groups: "core", Resources: "secrets", Verbs: "get",
					Why: "the same, and pull secrets, to look into the pod's image"},
			}},
		{ID: "injector", Name: injector, Scope: Own, Rules: own()},
		{ID: "injector-legacy", Name: injector + "-legacy", Scope: Watched,
			Narrow: "env_injector.legacyAuthService.namespaces", When: "env_injector.legacyAuthService.enabled",
			Rules: []Rule{{By: "broker/legacy", Groups: "core", Resources: "secrets", Verbs: "get patch",
				Why: "the Secrets that 1.8 made for its pods: who asks has to show their certificate, and gets a CA " +
					"to verify; a ValidatingAdmissionPolicy refuses any other change"}}},
		{ID: "injector-legacy-ca", Name: injector + "-legacy-ca", Scope: Own,
			When: "env_injector.legacyAuthService.enabled", Rules: []Rule{
				{By: "broker/legacy", Groups: "core", Resources: "secrets", Names: injector + "-ca", Verbs: "get",
					Why: "the CA that pods of 1.8 believe"},
			}},
	}
}

// everywhere is what is of the cluster, or in a namespace that is not the release's.
func everywhere() []Rule {
	const addresses = "the API server's addresses: no image is looked for there, and its requests are never too " +
		"many; by name, in any namespace, so that the chart has no object in another one"
	return []Rule{
		{By: "broker", Groups: "authentication.k8s.io", Resources: "tokenreviews", Verbs: "create", When: authService,
			Why: "is this the token of that pod?"},
		{By: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injector, Verbs: "get list watch",
			Why: "is the CA in its own configuration the current one, and is it its to write?"},
		{By: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injector, Verbs: "patch",
			When: "!" + certManager + " !" + customCertificate,
			Why:  "writes the CA into its own configuration, and repairs it"},
		{By: "webhook", Groups: "core", Resources: "namespaces", Alone: namespace, Verbs: "get",
			Why: "is injection enabled where the pod is? The auth service asks the same"},
		{By: "cmd/envinjector", Groups: "core", Resources: "services", Names: "kubernetes", Verbs: "get",
			Why: addresses},
		{By: "cmd/envinjector", Groups: "discovery.k8s.io", Resources: "endpointslices", Names: "kubernetes",
			Verbs: "get", Why: "the same"},
	}
}

// own is what is in the release's namespace.
func own() []Rule {
	return []Rule{
		{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving",
			Verbs: "get list watch update", Why: "the CA, which replicas share"},
		{By: "servingcert", Groups: "core", Resources: "secrets", Names: injector + "-serving-predecessor",
			Verbs: "get delete",
			Why:   "the certificate of the CA of 1.8, until no replica of it is left"},
		{By: "cmd/envinjector", Groups: "apps", Resources: "deployments", Names: injector, Verbs: "get",
			Why: "during an upgrade: are replicas of the older version still there, whose CA has to be believed?"},
		{By: "cmd/envinjector", Groups: "core", Resources: "services", Names: injector, Verbs: "get", When: authService,
			Why: "the address that pods dial first"},
	}
}
