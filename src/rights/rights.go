package rights

import (
	"slices"
	"strings"
)

// Rule is a set of permissions that a role grants for one reason.
type Rule struct {
	// Package is the package below src whose calls need the permissions.
	Package string
	// Groups are API groups, separated by spaces. "core" stands for the group without a name.
	Groups string
	// Resources and Verbs are separated by spaces. Each verb is allowed on each resource.
	Resources, Verbs string
	// Names are the resourceNames, separated by spaces. They can contain placeholders. Empty means every object.
	Names string
	// OwnNamespaceNames replaces Names if watchAllNamespaces is false. Empty means no difference.
	OwnNamespaceNames string
	// Condition are the paths of chart values that must be true, separated by spaces. A path that begins with ! must be
	// false. Empty means always.
	Condition string
	// Reason explains the purpose of the verbs, for the comment in the chart and for the page.
	Reason string
}

// Scope is the set of namespaces that a role applies to.
type Scope string

// Scopes of roles.
const (
	// ScopeOwnNamespace is the release's namespace.
	ScopeOwnNamespace Scope = "own namespace"
	// ScopeWatched is the cluster, or the release's namespace if watchAllNamespaces is false.
	ScopeWatched Scope = "watched"
	// ScopeCluster is the cluster, regardless of watchAllNamespaces.
	ScopeCluster Scope = "cluster"
	// ScopeTenants are the namespaces of identity.serviceAccounts.
	ScopeTenants Scope = "the namespaces of `identity.serviceAccounts`"
)

// Role is a Role or ClusterRole of the chart.
type Role struct {
	// ID is the suffix of the name of its template, akv2k8s.rights.ID.
	ID string
	// Name is the name of the object, with placeholders.
	Name string
	// Scope is the set of namespaces that its rules apply to.
	Scope Scope
	// NamespacesValue is the path of the value that lists the namespaces to bind the role in, or "" if there is none.
	NamespacesValue string
	// Condition are the paths of values that the role depends on, as in Rule.
	Condition string
	// Rules are in rendering order.
	Rules []Rule
}

// AllRoles returns all roles of the chart.
func AllRoles() []Role {
	return slices.Concat(ControllerRoles(), InjectorRoles(), HookRoles(), SharedRoles(), PodRoles())
}

// Placeholders for names that depend on the release.
const (
	chartPlaceholder      = "{chart}"
	controllerPlaceholder = "{controller}"
	injectorPlaceholder   = "{injector}"
	crdsPlaceholder       = "{crds}"
	namespacePlaceholder  = "{namespace}"
	accountsPlaceholder   = "{accounts}"
)

// exampleReplacer replaces placeholders with the names of a release akv2k8s in namespace akv2k8s, and of ServiceAccount
// reader.
func exampleReplacer() *strings.Replacer {
	return strings.NewReplacer(chartPlaceholder, "akv2k8s", controllerPlaceholder, "akv2k8s-controller",
		injectorPlaceholder, "akv2k8s-envinjector",
		crdsPlaceholder, "akv2k8s-crds", namespacePlaceholder, "akv2k8s", accountsPlaceholder, "reader")
}

// ExampleName returns the name of the role's object in a release akv2k8s in namespace akv2k8s.
func (r Role) ExampleName() string { return exampleReplacer().Replace(r.Name) }

// Permissions returns the single permissions of a rule in such a release, each as "group/resource[name] verb". alone is
// true if watchAllNamespaces is false.
func (r Rule) Permissions(alone bool) []string {
	var all []string
	for _, group := range strings.Fields(r.Groups) {
		for _, resource := range r.namedResources(alone) {
			for _, verb := range strings.Fields(r.Verbs) {
				all = append(all, strings.TrimPrefix(group, "core")+"/"+resource+" "+verb)
			}
		}
	}
	return all
}

// ConditionHolds reports whether the condition of a rule or role is met. isTrue reports whether the value at a path is
// set and true.
func ConditionHolds(when string, isTrue func(path string) bool) bool {
	for _, word := range strings.Fields(when) {
		path, negated := strings.CutPrefix(word, "!")
		if isTrue(path) == negated {
			return false
		}
	}
	return true
}

// namedResources returns the resources of a rule, each as resource[name], or as resource if Names is empty.
func (r Rule) namedResources(alone bool) []string {
	names := r.Names
	if alone && r.OwnNamespaceNames != "" {
		names = r.OwnNamespaceNames
	}
	var all []string
	for _, resource := range strings.Fields(r.Resources) {
		if names == "" {
			all = append(all, resource)
		}
		for _, name := range strings.Fields(exampleReplacer().Replace(names)) {
			all = append(all, resource+"["+name+"]")
		}
	}
	return all
}
