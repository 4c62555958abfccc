package rights

import (
	"slices"
	"strings"
)

// Rule is what a role allows for one reason.
type Rule struct {
	// By is the room below src whose calls need it.
	By string
	// Groups of the API, apart by spaces; core is the one without a name.
	Groups string
	// Resources, and the Verbs that each of them allows, apart by spaces.
	Resources, Verbs string
	// Names are the only objects that it holds for, apart by spaces, with stand-ins for what depends on the release;
	// empty means every object.
	Names string
	// Alone are the Names where the release's namespace alone is watched, if these differ.
	Alone string
	// When are the paths of values that must be true, apart by spaces; one that begins with ! must be false. Empty
	// means always.
	When string
	// Why says to a reader what the verbs are for.
	Why string
}

// Scope is where a role holds.
type Scope string

// The scopes.
const (
	// Own is the release's namespace.
	Own Scope = "own namespace"
	// Watched is the cluster, or the release's namespace where that alone is watched.
	Watched Scope = "watched"
	// Cluster is the cluster, whatever is watched.
	Cluster Scope = "cluster"
	// Tenants are the namespaces of identity.serviceAccounts.
	Tenants Scope = "the namespaces of `identity.serviceAccounts`"
)

// Role is a Role or ClusterRole of the chart.
type Role struct {
	// ID names its template, akv2k8s.rights.ID.
	ID string
	// Name of the object, with stand-ins.
	Name string
	// Scope is where its rules hold.
	Scope Scope
	// Narrow is the path of the value that lists namespaces to bind it in; empty if there is none.
	Narrow string
	// When are the paths of values without which it is not there, as in Rule.
	When string
	// Rules in the order in which they are rendered.
	Rules []Rule
}

// Roles are all that the chart has.
func Roles() []Role {
	return slices.Concat(Controller(), Injector(), Hooks(), Both(), Pods())
}

// Stand-ins for what depends on the release.
const (
	chart      = "{chart}"
	controller = "{controller}"
	injector   = "{injector}"
	crds       = "{crds}"
	namespace  = "{namespace}"
	accounts   = "{accounts}"
)

// example reads stand-ins as those of a release akv2k8s in a namespace akv2k8s, and a ServiceAccount reader.
func example() *strings.Replacer {
	return strings.NewReplacer(chart, "akv2k8s", controller, "akv2k8s-controller", injector, "akv2k8s-envinjector",
		crds, "akv2k8s-crds", namespace, "akv2k8s", accounts, "reader")
}

// Example is the name of the role's object in a release akv2k8s in a namespace akv2k8s.
func (r Role) Example() string { return example().Replace(r.Name) }

// Allowed are the single rights of a rule in such a release, each as "group/resource[name] verb"; alone says that its
// namespace alone is watched.
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

// Holds says whether a When is fulfilled; isTrue says whether the value of a path is set and true.
func Holds(when string, isTrue func(path string) bool) bool {
	for _, word := range strings.Fields(when) {
		path, negated := strings.CutPrefix(word, "!")
		if isTrue(path) == negated {
			return false
		}
	}
	return true
}

// objects are the resources of a rule, each as resource[name] or, if every object is meant, as resource.
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
