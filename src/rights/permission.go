package rights

import "strings"

// Names are the names that the placeholders of an installation stand for.
type Names struct {
	// Fullname is the prefix of its objects, and Namespace that of the release.
	Fullname, Namespace string
}

// Permission is a single permission, in the form of a review of access.
type Permission struct{ Verb, Group, Resource, Subresource, Name string }

// HasKnownNames reports whether the names of the rule follow from Names. The names of ServiceAccounts of tenants are in
// values alone.
func (r Rule) HasKnownNames() bool { return !strings.Contains(r.Names, accountsPlaceholder) }

// PermissionsOf returns the single permissions of a rule in an installation. alone is true if watchAllNamespaces is
// false.
func (r Rule) PermissionsOf(n Names, alone bool) []Permission {
	names := r.Names
	if alone && r.OwnNamespaceNames != "" {
		names = r.OwnNamespaceNames
	}
	objects := strings.Fields(n.replacer().Replace(names))
	if len(objects) == 0 {
		objects = []string{""}
	}
	var all []Permission
	for _, group := range strings.Fields(r.Groups) {
		for _, resource := range strings.Fields(r.Resources) {
			kind, subresource, _ := strings.Cut(resource, "/")
			for _, name := range objects {
				for _, verb := range strings.Fields(r.Verbs) {
					all = append(all, Permission{verb, strings.TrimPrefix(group, "core"), kind, subresource, name})
				}
			}
		}
	}
	return all
}

// NameOf returns the name of the role's object in an installation.
func (r Role) NameOf(n Names) string { return n.replacer().Replace(r.Name) }

func (n Names) replacer() *strings.Replacer {
	return strings.NewReplacer(chartPlaceholder, n.Fullname, controllerPlaceholder, n.Fullname+"-controller",
		injectorPlaceholder, n.Fullname+"-envinjector", crdsPlaceholder, n.Fullname+"-crds",
		namespacePlaceholder, n.Namespace)
}
