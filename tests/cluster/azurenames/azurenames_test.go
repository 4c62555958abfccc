package azurenames_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/cluster/azurenames"
)

func TestRewritesMatchAzuresNamesAndNoOthers(t *testing.T) {
	patterns := regexp.MustCompile(`name regex (\S+) azure-emulator\.`).FindAllStringSubmatch(azurenames.Rewrites(), -1)
	require.Len(t, patterns, len(azurenames.Names()))
	matches := func(name string) bool {
		for _, p := range patterns {
			if regexp.MustCompile(p[1]).MatchString(name) {
				return true
			}
		}
		return false
	}
	for _, name := range []string{"login.microsoftonline.com.", "kv1.vault.azure.net.", "my-vault.vault.azure.cn.", "x.vault.usgovcloudapi.net", "login.partner.microsoftonline.cn."} {
		assert.True(t, matches(name), name)
	}
	for _, name := range []string{"vault.azure.net.", "a.b.vault.azure.net.", "kv1.vault.azure.net.evil.example.", "loginXmicrosoftonline.com.", "kubernetes.default.svc.cluster.local."} {
		assert.False(t, matches(name), name)
	}
	assert.Equal(t, 1, strings.Count(azurenames.Corefile(), azurenames.Rewrites()))
	first := regexp.MustCompile(`name regex (\S+) (\S+)`).FindStringSubmatch(azurenames.Rewrites())
	assert.NotContains(t, first[2], "azure-emulator", "the first rule is for vaults that do not exist")
	assert.Regexp(t, first[1], azurenames.NoSuchVault+"vault.vault.azure.net.")
	assert.NotRegexp(t, first[1], "kv1.vault.azure.net.")
}
