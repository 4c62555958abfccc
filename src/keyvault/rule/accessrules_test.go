package rule_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/keyvault/rule"
)

func TestWhoMayReadWhat(t *testing.T) {
	rules, err := rule.ParseRules(`[{"namespaces":["team-a"],"vaults":["kv-a","KV-shared"]},{"namespaces":["b-*"],"vaults":["kv-b*"]}]`)
	require.NoError(t, err)
	for _, c := range []struct {
		namespace, vault string
		allowed          bool
	}{
		{"team-a", "kv-a", true}, {"team-a", "Kv-A", true}, {"team-a", "kv-shared", true}, {"team-a", "kv-b", false}, {"team-a", "kv-ab", false},
		{"b-1", "kv-b7", true}, {"b-1", "kv-a", false}, {"b", "kv-b", false}, {"team", "kv-a", false}, {"team-a2", "kv-a", false}, {"", "", false},
	} {
		err := rules.CheckAccess(c.namespace, c.vault)
		if c.allowed {
			assert.NoError(t, err, "%+v", c)
			continue
		}
		assert.Equal(t, fault.Denied, fault.KindOf(err), "%+v", c)
		assert.ErrorContains(t, err, "vaultRules")
	}
}

func TestWithoutRulesEverybodyMayReadEverything(t *testing.T) {
	for _, text := range []string{"", "[]"} {
		rules, err := rule.ParseRules(text)
		require.NoError(t, err)
		assert.NoError(t, rules.CheckAccess("any", "vault"))
	}
}

func TestRulesThatCannotWorkAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{`: "list", `[{"namespace":["a"]}]`: "list", `[{"namespaces":["a"]}]`: "lacks", `[{"vaults":["a"]}]`: "lacks",
		`[{"namespaces":["a"],"vaults":["https://kv"]}]`: "neither", `[{"namespaces":["a["],"vaults":["kv"]}]`: "neither", `[{"namespaces":[""],"vaults":["kv"]}]`: "neither",
	} {
		_, err := rule.ParseRules(text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err), text)
		assert.ErrorContains(t, err, says)
	}
}

func TestAsWhomANamespaceReads(t *testing.T) {
	defaults := map[string]string{"team": "default-reader"}
	for _, c := range []struct {
		identities       rule.IdentityPolicy
		namespace, named string
		want             keyvault.Identity
	}{
		{rule.IdentityPolicy{}, "team", "reader", keyvault.Identity{}},
		{rule.IdentityPolicy{DefaultAccounts: defaults}, "team", "", keyvault.Identity{}},
		{rule.IdentityPolicy{AllowServiceAccounts: true, DefaultAccounts: defaults}, "team", "reader", keyvault.Identity{Namespace: "team", ServiceAccount: "reader"}},
		{rule.IdentityPolicy{AllowServiceAccounts: true, DefaultAccounts: defaults}, "team", "", keyvault.Identity{Namespace: "team", ServiceAccount: "default-reader"}},
		{rule.IdentityPolicy{AllowServiceAccounts: true, DefaultAccounts: defaults}, "other", "", keyvault.Identity{}},
	} {
		assert.Equal(t, c.want, c.identities.IdentityFor(c.namespace, c.named), "%+v", c)
	}
}

func TestFlagsAddUp(t *testing.T) {
	var identities rule.IdentityPolicy
	require.NoError(t, identities.AddDefaultAccount("a=one"))
	require.NoError(t, identities.AddDefaultAccount("b=two"))
	assert.Equal(t, map[string]string{"a": "one", "b": "two"}, identities.DefaultAccounts)
	for _, text := range []string{"", "a", "a=", "=one"} {
		assert.Equal(t, fault.Invalid, fault.KindOf(identities.AddDefaultAccount(text)), text)
	}
	var rules rule.AccessRules
	require.NoError(t, rules.Set(`[{"namespaces":["a"],"vaults":["kv"]}]`))
	assert.Error(t, rules.CheckAccess("b", "kv"))
	assert.Error(t, rules.Set("x"))
}
