//go:build cluster

package examples

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/tests/readme"
	"github.com/akv2k8s/akv2k8s/tests/readme/walk"
)

// gettingStarted runs the commands of both pages on the suite's cluster, which takes the place of a new AKS cluster.
func gettingStarted(t *testing.T, g *walk.Guide) {
	if g.Azure.Cluster.IssuerKey == "" {
		// Entra ID, which is emulated, checks the tokens of the cluster with this key.
		t.Skip("NOT RUN: it needs the key that signs the cluster's tokens, which only the local cluster gives; use CLUSTER=local")
	}
	for _, page := range []string{"sync", "inject"} {
		t.Run(page, func(t *testing.T) {
			g.FollowPage(t, "docs/getting-started/"+page+".md", ".", walk.Plan{
				NotRun: map[string]walk.Instead{
					"":              {Reason: "this is a checkout of the repository"},
					"Without Azure": {Reason: "TestGettingStartedWithoutAzure runs them"},
				},
				Edit: forExistingCluster,
			})
		})
	}
}

// pause is a line that waits for a time; the stand-in of sleep is for loops, and waits less.
var pause = regexp.MustCompile(`(?m)^sleep `)

// forExistingCluster makes the changes that the pages describe for a cluster that exists.
func forExistingCluster(b readme.Block) string {
	commands := strings.ReplaceAll(b.Commands, "CLUSTER=$NAME CLUSTER_GROUP=$NAME", `CLUSTER=$(kubectl config current-context)
CLUSTER_GROUP=$(az aks list --query "[?name=='$CLUSTER'].resourceGroup" --output tsv)`)
	switch {
	case strings.Contains(commands, "az aks create"):
		commands, _, _ = strings.Cut(commands, "az aks create")
	case strings.Contains(commands, "kubectl config delete-context"):
		return ""
	}
	return pause.ReplaceAllString(commands, "/bin/sleep ")
}

// exports are the lines of make demo that its reader copies.
var exports = regexp.MustCompile(`(?m)^ *(export \S+)$`)

// TestGettingStartedWithoutAzure runs the commands of both pages that use the demo.
func TestGettingStartedWithoutAzure(t *testing.T) {
	for _, page := range []string{"sync", "inject"} {
		t.Run(page, func(t *testing.T) {
			const root = "../../.."
			document, err := readme.Read(root + "/docs/getting-started/" + page + ".md")
			require.NoError(t, err)
			section, ok := document.Section("Without Azure")
			require.True(t, ok)
			require.Len(t, section.Blocks, map[string]int{"sync": 4, "inject": 4}[page])
			session, err := readme.Start(t.Context(), root, t.TempDir())
			require.NoError(t, err)
			defer session.Close()
			removed := false
			defer func() {
				if !removed { // the shell ended with a failed command
					removeDemo(t, root)
				}
			}()
			for _, block := range section.Blocks {
				printed, err := session.Run(block, 20*time.Minute)
				require.NoError(t, err)
				require.NoError(t, readme.Match(block.Output, printed), "line %d", block.Line)
				removed = block.Commands == "make demo-down"
				for _, export := range exports.FindAllStringSubmatch(printed, -1) {
					_, err := session.Run(readme.Block{Line: block.Line, Commands: export[1]}, time.Minute)
					require.NoError(t, err)
				}
			}
			assert.True(t, removed, "the page ends with the removal of the demo")
		})
	}
}

func removeDemo(t *testing.T, root string) {
	t.Helper()
	session, err := readme.Start(t.Context(), root, t.TempDir())
	require.NoError(t, err)
	defer session.Close()
	_, err = session.Run(readme.Block{Commands: "make demo-down"}, time.Minute)
	assert.NoError(t, err)
}
