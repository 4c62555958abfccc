package rights

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryRuleSaysWhoNeedsItAndWhy(t *testing.T) {
	ids := map[string]bool{}
	for _, role := range Roles() {
		assert.False(t, ids[role.ID], "two roles are %s", role.ID)
		ids[role.ID] = true
		assert.NotEmpty(t, role.Scope, role.ID)
		assert.NotContains(t, role.Example(), "{", role.ID)
		assert.NotEmpty(t, role.Rules, role.ID)
		for _, rule := range role.Rules {
			assert.NotEmpty(t, rule.By, rule)
			assert.NotEmpty(t, rule.Allowed(false), rule)
			assert.NotEmpty(t, rule.Why, rule)
			assert.NotRegexp(t, `[|\n]|\{\{`, rule.Why, "it is a comment of the template, and a cell of a table")
		}
	}
}

func TestNoRuleIsUnboundedOrEscalates(t *testing.T) {
	for _, role := range Roles() {
		for _, rule := range role.Rules {
			assert.NotContains(t, rule.Groups+rule.Resources+rule.Verbs, "*", rule)
			for _, verb := range strings.Fields(rule.Verbs) {
				assert.NotContains(t, []string{"escalate", "bind", "impersonate", "deletecollection"}, verb, rule)
			}
		}
	}
}

func TestARuleAsSingleRights(t *testing.T) {
	rule := Rule{Groups: "core apps", Resources: "secrets pods/log", Names: "{injector}-ca plain", Alone: "{namespace}", Verbs: "get list"}
	assert.Equal(t, []string{"/secrets[akv2k8s-envinjector-ca] get", "/secrets[akv2k8s-envinjector-ca] list"}, rule.Allowed(false)[:2])
	assert.Len(t, rule.Allowed(false), 16)
	assert.Contains(t, rule.Allowed(true), "apps/pods/log[akv2k8s] list")
	assert.Len(t, rule.Allowed(true), 8)
	rule.Names, rule.Alone = "", ""
	assert.Contains(t, rule.Allowed(true), "apps/pods/log list")
}

func TestARuleAsATemplate(t *testing.T) {
	rule := Rule{Groups: "core", Resources: "secrets", Names: "{accounts} {injector}-ca", Verbs: "get list", Why: "so that it is read"}
	assert.Equal(t, `# so that it is read
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .accounts | toJson | trimPrefix "[" | trimSuffix "]" }}, {{ include "akv2k8s.injector.name" . }}-ca]
  verbs: [get, list]
`, rule.yaml())
	rule = Rule{Groups: "core", Resources: "namespaces", Alone: "{namespace}", Verbs: "get", Why: "why"}
	assert.Contains(t, rule.yaml(), "{{- if not .Values.watchAllNamespaces }}\n  resourceNames: [{{ .Release.Namespace | quote }}]\n{{- end }}\n  verbs:")
	template := Template()
	assert.Contains(t, template, "{{- if and (not .Values.env_injector.certificate.useCertManager) (not .Values.env_injector.certificate.custom.enabled) }}\n# writes the CA")
	assert.Contains(t, template, "{{- if not .Values.env_injector.certificate.custom.enabled }}\n# the same for the serving certificate")
	for _, role := range Roles() {
		assert.Contains(t, template, `{{- define "akv2k8s.rights.`+role.ID+`" -}}`)
	}
	assert.Contains(t, template, "{{- if .Values.controller.rolloutRestart.enabled }}\n# finds workloads")
	assert.NotRegexp(t, `[^{]\{[a-z]+\}`, template, "every stand-in is known")
}

func TestARuleAsARow(t *testing.T) {
	role := Role{Name: "{chart}-r", Scope: Watched, Narrow: "a.namespaces", When: "a.enabled", Rules: []Rule{
		{By: "broker", Groups: "core", Resources: "secrets pods", Names: "{accounts}", Verbs: "get list", When: "b.enabled", Why: "why"}}}
	assert.Equal(t, "| Role | Where | Resource | Verbs | Why | Code |\n|---|---|---|---|---|---|\n"+
		"| `akv2k8s-r` | watched, or `a.namespaces`, only with `a.enabled`, only with `b.enabled` | `secrets[reader]`, `pods[reader]` | `get`, `list` | why | [broker](../src/broker) |\n",
		Table([]Role{role}, "../src"))
}

func TestWhenARuleHolds(t *testing.T) {
	on := func(path string) bool { return path == "a" || path == "b" }
	for when, holds := range map[string]bool{"": true, "a": true, "a b": true, "a c": false, "!c": true, "!a": false, "a !c": true, "!c !b": false} {
		assert.Equal(t, holds, Holds(when, on), when)
	}
}
