package chart

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/akv2k8s/akv2k8s/src/rights"
)

// words are a list of a rule.
func words(rule map[string]any, field string) (all []string) {
	list, _ := rule[field].([]any)
	for _, word := range list {
		all = append(all, word.(string))
	}
	return all
}

// singles are the rights of a role, each as "group/resource[name] verb".
func singles(t *testing.T, role *unstructured.Unstructured) []string {
	t.Helper()
	list, _, err := unstructured.NestedSlice(role.Object, "rules")
	require.NoError(t, err)
	var all []string
	for _, item := range list {
		rule := item.(map[string]any)
		suffixes := []string{""}
		if names, bound := rule["resourceNames"]; bound {
			assert.NotEmpty(t, names, "%s: no names would be every name", role.GetName())
			suffixes = nil
			for _, name := range words(rule, "resourceNames") {
				suffixes = append(suffixes, "["+name+"]")
			}
		}
		for _, group := range words(rule, "apiGroups") {
			for _, resource := range words(rule, "resources") {
				for _, suffix := range suffixes {
					for _, verb := range words(rule, "verbs") {
						all = append(all, group+"/"+resource+suffix+" "+verb)
					}
				}
			}
		}
	}
	return all
}

// setting is an installation whose roles are looked at.
type setting struct {
	alone bool
	set   []string
}

// settings have, together, every role and every rule.
func settings() map[string]setting {
	tenants := with("identity.serviceAccounts[0].namespace=team", "identity.serviceAccounts[0].names={reader}")
	transition := with("controller.rolloutRestart.enabled=true", "controller.rolloutRestart.argoRollouts=true", "env_injector.legacyAuthService.enabled=true")
	return map[string]setting{
		"defaults":                   {},
		"everything":                 {set: slices.Concat(tenants, transition)},
		"one namespace":              {alone: true, set: slices.Concat(tenants, transition, with("watchAllNamespaces=false"))},
		"all identities":             {set: with("identity.allNamespaces=true")},
		"without the auth service":   {set: with("identity.allNamespaces=true", "env_injector.authService=false")},
		"cert-manager":               {set: with("env_injector.certificate.useCertManager=true")},
		"a certificate of one's own": {set: customCertificate()},
	}
}

// has says whether a When of src/rights is fulfilled.
func (s setting) has(t *testing.T, when string) bool {
	t.Helper()
	c, err := loaded()
	require.NoError(t, err)
	values, err := chartutil.CoalesceValues(c, fromSet(t, s.set...))
	require.NoError(t, err)
	return rights.ConditionHolds(when, func(path string) bool {
		value, err := values.PathValue(path)
		if err != nil { // of a table
			table, err := values.Table(path)
			return err == nil && len(table) > 0
		}
		isTrue, _ := template.IsTrue(value)
		return isTrue
	})
}

// kind of the object that a role is.
func (s setting) kind(role rights.Role) string {
	if role.Scope == rights.ScopeCluster || role.Scope == rights.ScopeWatched && !s.alone {
		return "ClusterRole"
	}
	return "Role"
}

// declared are the rights of each role that an installation is to have, by kind and name.
func (s setting) declared(t *testing.T) map[string][]string {
	all := map[string][]string{}
	t.Helper()
	for _, role := range rights.AllRoles() {
		allowed := map[string]bool{}
		for _, rule := range role.Rules {
			for _, right := range rule.Permissions(s.alone) {
				allowed[right] = s.has(t, rule.Condition)
			}
		}
		if s.has(t, role.Condition) {
			for right, on := range allowed {
				if !on {
					delete(allowed, right)
				}
			}
			all[s.kind(role)+"/"+role.ExampleName()] = slices.Sorted(maps.Keys(allowed))
		}
	}
	return all
}

func TestRolesAllowWhatTheCodeDeclares(t *testing.T) {
	for name, s := range settings() {
		rendered := map[string][]string{}
		for id, object := range drawn(t, s.set...) {
			if strings.HasSuffix(object.GetKind(), "Role") {
				rendered[id] = slices.Sorted(slices.Values(singles(t, object)))
			}
		}
		assert.Equal(t, s.declared(t), rendered, "%s: declare a right in src/rights, and run make generate; templates include it", name)
	}
}

func TestNothingIsBoundWiderThanDeclared(t *testing.T) {
	for name, s := range settings() {
		for id, binding := range drawn(t, s.set...) {
			if !strings.HasSuffix(binding.GetKind(), "RoleBinding") {
				continue
			}
			ref, _, err := unstructured.NestedStringMap(binding.Object, "roleRef")
			require.NoError(t, err)
			assert.Contains(t, s.declared(t), ref["kind"]+"/"+ref["name"], "%s: %s", name, id)
			assert.Equal(t, ref["kind"]+"Binding", binding.GetKind(), "%s: %s", name, id)
		}
	}
}

func TestEveryRightIsExplainedAndNoneThatThereIsNot(t *testing.T) {
	rendered := map[string]bool{}
	for _, s := range settings() {
		for _, object := range drawn(t, s.set...) {
			if strings.HasSuffix(object.GetKind(), "Role") && !s.alone {
				for _, right := range singles(t, object) {
					_, what, _ := strings.Cut(right, "/")
					rendered[object.GetName()+": "+what] = true
				}
			}
		}
	}
	page, err := os.ReadFile("../../docs/security/rbac.md")
	require.NoError(t, err)
	explained, quoted := map[string]bool{}, regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 6 {
			continue
		}
		assert.NotEmpty(t, strings.TrimSpace(cells[4]), line)
		role := quoted.FindStringSubmatch(cells[0])[1]
		for _, resource := range quoted.FindAllStringSubmatch(cells[2], -1) {
			for _, verb := range quoted.FindAllStringSubmatch(cells[3], -1) {
				explained[role+": "+resource[1]+" "+verb[1]] = true
			}
		}
	}
	for right := range rendered {
		assert.True(t, explained[right], "docs/security/rbac.md does not explain: %s", right)
	}
	for right := range explained {
		assert.True(t, rendered[right], "docs/security/rbac.md explains what no role allows: %s", right)
	}
}

func TestNoRoleIsUnboundedOrEscalates(t *testing.T) {
	for _, s := range settings() {
		for _, object := range drawn(t, s.set...) {
			if !strings.HasSuffix(object.GetKind(), "Role") {
				continue
			}
			for _, right := range singles(t, object) {
				assert.NotContains(t, right, "*", "every right is named")
				assert.NotRegexp(t, ` (escalate|bind|impersonate|deletecollection)$`, right)
			}
		}
	}
}
