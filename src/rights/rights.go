package rights

import (
	"slices"
	"strings"
)

// Rule is a set of permissions that a role grants for one reason.
type Rule struct {
	// By is the package below src whose calls need the permissions.
	By string
	// Groups are API groups, separated by spaces. "core" stands for the group without a name.
	Groups string
	// Resources and Verbs are separated by spaces. Each verb is allowed on each resource.
	Resources, Verbs string
	// Names are the resourceNames, separated by spaces. They can contain placeholders. Empty means every object.
	Names string
	// Alone replaces Names if watchAllNamespaces is false. Empty means no difference.
	Alone string
	// When are the paths of chart values that must be true, separated by spaces. A path that begins with ! must be
	// false. Empty means always.
	When string
	// Why explains the purpose of the verbs, for the comment in the chart and for the page.
	Why string
}

// Scope is the set of namespaces that a role applies to.
type Scope string

// Scopes of roles.
const (
	// Own is the release's namespace.
	Own Scope = "own namespace"
	// Watched is the cluster, or the release's namespace if watchAllNamespaces is false.
	Watched Scope = "watched"
	// Cluster is the cluster, regardless of watchAllNamespaces.
	Cluster Scope = "cluster"
	// Tenants are the namespaces of identity.serviceAccounts.
	Tenants Scope = "the namespaces of `identity.serviceAccounts`"
)

// Role is a Role or ClusterRole of the chart.
type Role struct {
	// ID is the suffix of the name of its template, akv2k8s.rights.ID.
	ID string
	// Name is the name of the object, with placeholders.
	Name string
	// Scope is the set of namespaces that its rules apply to.
	Scope Scope
	// Narrow is the path of the value that lists the namespaces to bind the role in, or "" if there is none.
	Narrow string
	// When are the paths of values that the role depends on, as in Rule.
	When string
	// Rules are in rendering order.
	Rules []Rule
}

// Roles returns all roles of the chart.
func Roles() []Role {
	return slices.Concat(Controller(), Injector(), Hooks(), Both(), Pods())
}

// Placeholders for names that depend on the release.
const (
	chart      = "{chart}"
	controller = "{controller}"
	injector   = "{injector}"
	crds       = "{crds}"
	namespace  = "{namespace}"
	accounts   = "{accounts}"
)

// example replaces placeholders with the names of a release akv2k8s in namespace akv2k8s, and of ServiceAccount reader.
func example() *strings.Replacer {
	return strings.NewReplacer(chart, "akv2k8s", controller, "akv2k8s-controller", injector, "akv2k8s-envinjector",
		crds, "akv2k8s-crds", namespace, "akv2k8s", accounts, "reader")
}

// Example returns the name of the role's object in a release akv2k8s in namespace akv2k8s.
func (r Role) Example() string { return example().Replace(r.Name) }

// Allowed returns the single permissions of a rule in such a release, each as "group/resource[name] verb". alone is
// true if watchAllNamespaces is false.
func (r Rule) Allowed(alone bool) []string {
	var all []string
	for _, group := range strings.Fields(r.Groups) {
		for _, resource := range r.objects(alone) {
			for _, verb := range strings.Fields(r.Verbs) {
				all = append(all, strings.TrimPrefix(group, "core")+"/"+resource+" "+verb)
			}
		}
	}
	return all
}

// Holds reports whether the condition of a rule or role is met. isTrue reports whether the value at a path is set and
// true.
func Holds(when string, isTrue func(path string) bool) bool {
	for _, word := range strings.Fields(when) {
		path, negated := strings.CutPrefix(word, "!")
		if isTrue(path) == negated {
			return false
		}
	}
	return true
}

// objects returns the resources of a rule, each as resource[name], or as resource if Names is empty.
func (r Rule) objects(alone bool) []string {
	names := r.Names
	if alone && r.Alone != "" {
		names = r.Alone
	}
	var all []string
	for _, resource := range strings.Fields(r.Resources) {
		if names == "" {
			all = append(all, resource)
		}
		for _, name := range strings.Fields(example().Replace(names)) {
			all = append(all, resource+"["+name+"]")
		}
	}
	return all
}
