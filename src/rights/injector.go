package rights

import "slices"

// Paths of chart values that rules of the env-injector depend on.
const (
	authServiceValue       = "env_injector.authService"
	certManagerValue       = "env_injector.certificate.useCertManager"
	customCertificateValue = "env_injector.certificate.custom.enabled"
	watchAllValue          = "watchAllNamespaces"
	watchNodesValue        = "env_injector.watchNodes"
)

// InjectorRoles returns the roles of the env-injector.
func InjectorRoles() []Role {
	roles := []Role{
		{ID: "injector-cluster", Name: injectorPlaceholder, Scope: ScopeCluster, Rules: injectorClusterRules()},
		{ID: "injector-inject", Name: injectorPlaceholder + "-inject", Scope: ScopeWatched, Rules: []Rule{
			{Package: "broker", Groups: "core", Resources: "pods", Verbs: "get", Condition: authServiceValue,
				Reason: "reads the pod that requests values, to authorize its references"},
			{Package: "webhook", Groups: "core", Resources: "limitranges", Verbs: "list",
				Reason: "the init container must satisfy the LimitRanges of the pod's namespace"},
			{Package: "broker", Groups: "events.k8s.io", Resources: "events", Verbs: "create patch",
				Condition: authServiceValue,
				Reason: "records an event on a pod that got a stale value, or that akv2k8s 1.8 injected and that " +
					"must be recreated"},
			{Package: "broker", Groups: apiGroup, Resources: "azurekeyvaultsecrets", Verbs: "get list watch",
				Condition: authServiceValue,
				Reason:    "reads the resources that references name"},
		}},
		{ID: "injector-sources", Name: injectorPlaceholder + "-sources", Scope: ScopeWatched,
			NamespacesValue: "env_injector.sourceNamespaces",
			Rules: []Rule{
				{Package: "webhook", Groups: "core", Resources: "configmaps", Verbs: "get",
					Reason: "reads the sources of a pod's environment, which can hold references; once, by name, " +
						"when the pod is created"},
				{Package: "webhook", Groups: "core", Resources: "secrets", Verbs: "get",
					Reason: "the same, and pull secrets, to read the entrypoint of the pod's image"},
			}},
		{ID: "injector", Name: injectorPlaceholder, Scope: ScopeOwnNamespace, Rules: injectorOwnRules()},
	}
	return append(roles, v1AuthServiceRoles()...)
}

// injectorClusterRules returns the rules for cluster-scoped objects and for objects outside the release's namespace.
func injectorClusterRules() []Rule {
	const addresses = "reads the API server's addresses, which it never uses as a registry and whose requests it " +
		"does not limit; by name in all namespaces, so that the chart needs no object in another one"
	return []Rule{
		{Package: "broker", Groups: "authentication.k8s.io", Resources: "tokenreviews", Verbs: "create",
			Condition: authServiceValue,
			Reason:    "verifies the token of a pod"},
		{Package: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injectorPlaceholder, Verbs: "get list watch",
			Reason: "checks the CA in its own webhook configuration, and whether it manages that CA"},
		{Package: "servingcert", Groups: "admissionregistration.k8s.io", Resources: "mutatingwebhookconfigurations",
			Names: injectorPlaceholder, Verbs: "patch",
			Condition: "!" + certManagerValue + " !" + customCertificateValue,
			Reason:    "writes the CA into its own webhook configuration and repairs it"},
		{Package: "webhook", Groups: "core", Resources: "namespaces", OwnNamespaceNames: namespacePlaceholder,
			Verbs:  "get",
			Reason: "checks that injection is enabled in the pod's namespace; the auth service does the same"},
		{Package: "webhook/delivery", Groups: "core", Resources: "nodes", Verbs: "list watch",
			Condition: watchAllValue + " " + watchNodesValue,
			Reason: "knows the versions of kubelets and container runtimes, to decide whether pods get the injector in " +
				"an image volume"},
		{Package: "webhook/delivery", Groups: "core", Resources: "pods", Verbs: "list",
			Condition: watchAllValue + " " + watchNodesValue,
			Reason: "detects that a policy denies pods with image volumes: a controller creates pods again and again, and " +
				"none exists"},
		{Package: "apiserver", Groups: "core", Resources: "services", Names: "kubernetes", Verbs: "get",
			Reason: addresses},
		{Package: "apiserver", Groups: "discovery.k8s.io", Resources: "endpointslices", Names: "kubernetes",
			Verbs: "get", Reason: "the same"},
	}
}

// injectorOwnRules returns the rules for objects in the release's namespace.
func injectorOwnRules() []Rule {
	return slices.Concat([]Rule{
		{Package: "servingcert", Groups: "core", Resources: "secrets", Names: injectorPlaceholder + "-serving",
			Verbs: "get list watch update", Reason: "reads and writes the CA that all replicas share"},
	}, v1CARules(), []Rule{
		{Package: "webhook", Groups: "core", Resources: "services", Names: injectorPlaceholder, Verbs: "get",
			Condition: authServiceValue,
			Reason:    "reads the IP address that pods dial first"},
	})
}
