package rights

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryRuleSaysWhoNeedsItAndWhy(t *testing.T) {
	ids := map[string]bool{}
	for _, role := range AllRoles() {
		assert.False(t, ids[role.ID], "two roles are %s", role.ID)
		ids[role.ID] = true
		assert.NotEmpty(t, role.Scope, role.ID)
		assert.NotContains(t, role.ExampleName(), "{", role.ID)
		assert.NotEmpty(t, role.Rules, role.ID)
		for _, rule := range role.Rules {
			assert.NotEmpty(t, rule.Package, rule)
			assert.NotEmpty(t, rule.Permissions(false), rule)
			assert.NotEmpty(t, rule.Reason, rule)
			assert.NotRegexp(t, `[|\n]|\{\{`, rule.Reason, "it is a comment of the template, and a cell of a table")
		}
	}
}

func TestNoRuleIsUnboundedOrEscalates(t *testing.T) {
	for _, role := range AllRoles() {
		for _, rule := range role.Rules {
			assert.NotContains(t, rule.Groups+rule.Resources+rule.Verbs, "*", rule)
			for _, verb := range strings.Fields(rule.Verbs) {
				assert.NotContains(t, []string{"escalate", "bind", "impersonate", "deletecollection"}, verb, rule)
			}
		}
	}
}

func TestARuleAsSingleRights(t *testing.T) {
	rule := Rule{Groups: "core apps", Resources: "secrets pods/log", Names: "{injector}-ca plain", OwnNamespaceNames: "{namespace}", Verbs: "get list"}
	assert.Equal(t, []string{"/secrets[akv2k8s-envinjector-ca] get", "/secrets[akv2k8s-envinjector-ca] list"}, rule.Permissions(false)[:2])
	assert.Len(t, rule.Permissions(false), 16)
	assert.Contains(t, rule.Permissions(true), "apps/pods/log[akv2k8s] list")
	assert.Len(t, rule.Permissions(true), 8)
	rule.Names, rule.OwnNamespaceNames = "", ""
	assert.Contains(t, rule.Permissions(true), "apps/pods/log list")
}

func TestARuleAsATemplate(t *testing.T) {
	rule := Rule{Groups: "core", Resources: "secrets", Names: "{accounts} {injector}-ca", Verbs: "get list", Reason: "so that it is read"}
	assert.Equal(t, `# so that it is read
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .accounts | toJson | trimPrefix "[" | trimSuffix "]" }}, {{ include "akv2k8s.injector.name" . }}-ca]
  verbs: [get, list]
`, rule.templateYAML())
	rule = Rule{Groups: "core", Resources: "namespaces", OwnNamespaceNames: "{namespace}", Verbs: "get", Reason: "why"}
	assert.Contains(t, rule.templateYAML(), "{{- if not .Values.watchAllNamespaces }}\n  resourceNames: [{{ .Release.Namespace | quote }}]\n{{- end }}\n  verbs:")
	template := ChartTemplate()
	assert.Contains(t, template, "{{- if and (not .Values.env_injector.certificate.useCertManager) (not .Values.env_injector.certificate.custom.enabled) }}\n# writes the CA")
	assert.Contains(t, template, "{{- if not .Values.env_injector.certificate.custom.enabled }}\n# the same for the serving certificate")
	for _, role := range AllRoles() {
		assert.Contains(t, template, `{{- define "akv2k8s.rights.`+role.ID+`" -}}`)
	}
	assert.Contains(t, template, "{{- if .Values.controller.rolloutRestart.enabled }}\n# finds workloads")
	assert.NotRegexp(t, `[^{]\{[a-z]+\}`, template, "every stand-in is known")
}

func TestARuleAsARow(t *testing.T) {
	role := Role{Name: "{chart}-r", Scope: ScopeWatched, NamespacesValue: "a.namespaces", Condition: "a.enabled", Rules: []Rule{
		{Package: "broker", Groups: "core", Resources: "secrets pods", Names: "{accounts}", Verbs: "get list", Condition: "b.enabled", Reason: "why"}}}
	assert.Equal(t, "| Role | Where | Resource | Verbs | Why | Code |\n|---|---|---|---|---|---|\n"+
		"| `akv2k8s-r` | watched, or `a.namespaces`, only with `a.enabled`, only with `b.enabled` | `secrets[reader]`, `pods[reader]` | `get`, `list` | why | [broker](../src/broker) |\n",
		MarkdownTable([]Role{role}, "../src"))
}

func TestWhenARuleHolds(t *testing.T) {
	on := func(path string) bool { return path == "a" || path == "b" }
	for when, holds := range map[string]bool{"": true, "a": true, "a b": true, "a c": false, "!c": true, "!a": false, "a !c": true, "!c !b": false} {
		assert.Equal(t, holds, ConditionHolds(when, on), when)
	}
}

func TestARuleInAnInstallationOfAnotherName(t *testing.T) {
	names := Names{Fullname: "own", Namespace: "team"}
	rule := Rule{Groups: "core", Resources: "secrets pods/log", Names: "{injector}-ca", OwnNamespaceNames: "{namespace}", Verbs: "get"}
	assert.Equal(t, []Permission{{Verb: "get", Resource: "secrets", Name: "own-envinjector-ca"},
		{Verb: "get", Resource: "pods", Subresource: "log", Name: "own-envinjector-ca"}}, rule.PermissionsOf(names, false))
	assert.Equal(t, "team", rule.PermissionsOf(names, true)[0].Name)
	assert.Equal(t, []Permission{{Verb: "list", Group: "apps", Resource: "deployments"}},
		Rule{Groups: "apps", Resources: "deployments", Verbs: "list"}.PermissionsOf(names, false))
	assert.True(t, rule.HasKnownNames())
	assert.False(t, Rule{Names: "{accounts}"}.HasKnownNames())
	for _, role := range AllRoles() {
		assert.NotContains(t, role.NameOf(names), "{", role.ID)
	}
	assert.Equal(t, "own-controller-crd-team", ControllerRoles()[2].NameOf(names))
}
