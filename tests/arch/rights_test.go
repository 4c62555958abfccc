package arch

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/rights"
)

// apiClient is what calls of the API server are made with, but for the injector's, which has none of the Kubernetes
// libraries. A room that only watches uses apiCache.
const (
	apiClient = "sigs.k8s.io/controller-runtime/pkg/client"
	apiCache  = "sigs.k8s.io/controller-runtime/pkg/cache"
)

// TestWhoCallsTheAPIServerDeclaresItsRights keeps src/rights and the code together: a room that calls has a rule, and a
// rule has a room that calls. Programs, and envinjector, only create clients and hand them to the rooms that call. The
// command line calls with the rights of its user.
func TestWhoCallsTheAPIServerDeclaresItsRights(t *testing.T) {
	declared := map[string]bool{}
	for _, role := range rights.AllRoles() {
		for _, rule := range role.Rules {
			declared[rule.Package] = true
		}
	}
	all := imports(t)
	require.Contains(t, all, "broker")
	for room, imported := range all {
		connects := strings.HasPrefix(room, "cmd/") || room == "envinjector"
		usersRights := room == "cli" || strings.HasPrefix(room, "cli/") || strings.HasPrefix(room, "doctor/")
		if rooms()[room] != testOnly && !connects && !usersRights && slices.Contains(imported, apiClient) {
			assert.True(t, declared[room], "src/%s calls the API server, and no rule of src/rights is By it", room)
		}
	}
	for room := range declared {
		calls := slices.Contains(all[room], apiClient) || slices.Contains(all[room], apiCache) ||
			strings.HasPrefix(room, "injector/")
		assert.True(t, calls, "src/rights has a rule By %s, which makes no calls of the API server", room)
	}
}
