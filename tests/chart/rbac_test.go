package chart

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// granted are the rights of every role, each as "role: resource[name] verb".
func granted(t *testing.T, all objects) map[string]bool {
	t.Helper()
	rights := map[string]bool{}
	for _, role := range all {
		if role.GetKind() != "Role" && role.GetKind() != "ClusterRole" {
			continue
		}
		rules, _, err := unstructured.NestedSlice(role.Object, "rules")
		require.NoError(t, err)
		for _, rule := range rules {
			fields := rule.(map[string]any)
			names, bound := fields["resourceNames"].([]any)
			if !bound {
				names = []any{""}
			}
			for _, resource := range fields["resources"].([]any) {
				for _, name := range names {
					for _, verb := range fields["verbs"].([]any) {
						rights[role.GetName()+": "+strings.TrimSuffix(resource.(string)+"["+name.(string)+"]", "[]")+" "+verb.(string)] = true
					}
				}
			}
		}
	}
	return rights
}

func TestEveryRightIsExplainedAndNoneThatThereIsNot(t *testing.T) {
	rendered := granted(t, render(t, "controller.rolloutRestart.enabled=true", "env_injector.legacyAuthService.enabled=true",
		"identity.serviceAccounts[0].namespace=team", "identity.serviceAccounts[0].names={reader}"))
	for right := range granted(t, render(t, "identity.allNamespaces=true")) {
		rendered[right] = true
	}
	page, err := os.ReadFile("../../docs/security/rbac.md")
	require.NoError(t, err)
	explained, quoted := map[string]bool{}, regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `") || len(cells) != 5 {
			continue
		}
		assert.NotEmpty(t, strings.TrimSpace(cells[4]), line)
		role, resource := quoted.FindStringSubmatch(cells[0])[1], quoted.FindStringSubmatch(cells[2])[1]
		for _, verb := range quoted.FindAllStringSubmatch(cells[3], -1) {
			explained[role+": "+resource+" "+verb[1]] = true
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
	for right := range granted(t, render(t, "controller.rolloutRestart.enabled=true", "env_injector.legacyAuthService.enabled=true", "identity.allNamespaces=true")) {
		assert.NotContains(t, right, "*", "every right is named")
		assert.NotRegexp(t, ` (escalate|bind|impersonate|deletecollection)$`, right)
	}
}
