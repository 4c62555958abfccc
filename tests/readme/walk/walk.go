package walk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/readme"
	"github.com/akv2k8s/akv2k8s/tests/readme/azurecli"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// patience is for one block; the longest wait of a README is five minutes.
const patience = 6 * time.Minute

// Guide follows READMEs.
type Guide struct {
	// Stage has the cluster and the emulator.
	Stage *stage.Stage
	// Azure is what az changes.
	Azure *azurecli.Azure

	programs string
	socket   string
}

// Plan is what differs from running every section.
type Plan struct {
	// NotRun are sections whose commands need what is not here.
	NotRun map[string]Instead
	// Before is done before the commands of a section.
	Before map[string]func(t *testing.T)
	// Edit returns the commands to run in place of those of a block; empty commands are not run.
	Edit func(readme.Block) string
	// Outcome is awaited before the section Remove.
	Outcome func(context.Context) error
}

// Instead says why a section is not run, and what is done in its place.
type Instead struct {
	Reason string
	Do     func(t *testing.T)
}

// New makes the stand-ins.
func New(t *testing.T, s *stage.Stage) *Guide {
	t.Helper()
	g := &Guide{Stage: s, programs: t.TempDir()}
	// Paths of sockets are short.
	folder, err := os.MkdirTemp("", "az-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	g.socket = filepath.Join(folder, "az.sock")
	require.NoError(t, readme.Programs(t.Context(), s.Root, g.programs))
	values, err := s.Overrides()
	require.NoError(t, err)
	file := filepath.Join(g.programs, "values.yaml")
	require.NoError(t, os.WriteFile(file, values, 0o600))
	require.NoError(t, readme.Script(g.programs, "helm", fmt.Sprintf(`case "$1" in
upgrade) shift; exec %[1]s upgrade --values %[2]s "$@";;
esac
exec %[1]s "$@"`, s.HelmProgram(), file)))
	if programs := s.Cluster.Programs(t.Context()); programs != "" {
		require.NoError(t, os.Symlink(filepath.Join(programs, "kubectl"), filepath.Join(g.programs, "kubectl")))
	}
	g.Azure = azurecli.New(s.Azure, local.TenantID, clusterOf(t, s))
	require.NoError(t, g.Azure.Serve(t.Context(), g.socket))
	return g
}

// clusterOf describes the stage's cluster as Azure does. Only the local cluster gives the key of its tokens.
func clusterOf(t *testing.T, s *stage.Stage) azurecli.Cluster {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.Cluster.Kubeconfig())
	require.NoError(t, err)
	c := azurecli.Cluster{Name: config.CurrentContext, Issuer: "https://kubernetes.default.svc"}
	c.KubeletClientID, c.KubeletObjectID = s.NodeIdentity()
	if cluster, ok := s.Cluster.(interface{ ServiceAccountKey() string }); ok {
		key, err := os.ReadFile(strings.TrimSuffix(cluster.ServiceAccountKey(), ".key") + ".pub")
		require.NoError(t, err)
		c.IssuerKey = string(key)
	}
	return c
}

// Follow runs the commands of an example's README, and wants that nothing is left in the end.
func (g *Guide) Follow(t *testing.T, example string, plan Plan) {
	t.Helper()
	folder := filepath.Join("examples", example)
	g.FollowPage(t, filepath.Join(folder, "README.md"), folder, plan)
}

// FollowPage runs the commands of a page in a folder, and wants that nothing is left in the end. Both paths are
// relative to the repository.
func (g *Guide) FollowPage(t *testing.T, page, folder string, plan Plan) {
	t.Helper()
	folder = filepath.Join(g.Stage.Root, folder)
	document, err := readme.Read(filepath.Join(g.Stage.Root, page))
	require.NoError(t, err)
	for name := range plan.NotRun {
		_, ok := document.Section(name)
		require.True(t, ok, "the page has no section %q", name)
	}
	session, err := readme.Start(t.Context(), folder, g.programs,
		azurecli.Socket+"="+g.socket, "KUBECONFIG="+g.Stage.Cluster.Kubeconfig(), "KUBECACHEDIR="+g.programs)
	require.NoError(t, err)
	session.Broken = g.Azure.Refused
	t.Cleanup(func() {
		session.Close()
		if t.Failed() {
			g.tidy(t)
		}
	})
	for _, section := range document.Sections {
		g.section(t, session, section, plan)
	}
	assert.Empty(t, g.Azure.Left(), "nothing is left in Azure")
	assert.NoError(t, stage.Await(t.Context(), time.Minute, "the end of what the example made", g.nothingLeft))
}

func (g *Guide) section(t *testing.T, session *readme.Session, section readme.Section, plan Plan) {
	t.Helper()
	if before := plan.Before[section.Name]; before != nil {
		before(t)
	}
	if instead, ok := plan.NotRun[section.Name]; ok {
		t.Logf("NOT RUN: the commands of section %q: %s", section.Name, instead.Reason)
		if instead.Do != nil {
			instead.Do(t)
		}
		return
	}
	if section.Name == "Remove" && plan.Outcome != nil {
		require.NoError(t, stage.Await(t.Context(), 2*time.Minute, "the example", plan.Outcome))
	}
	for _, block := range section.Blocks {
		if plan.Edit != nil {
			block.Commands = plan.Edit(block)
		}
		if block.Commands == "" {
			t.Logf("NOT RUN: the commands at line %d", block.Line)
			continue
		}
		printed, err := session.Run(block, patience)
		require.NoError(t, err, "section %q; az refused: %v", section.Name, g.Azure.Refusals())
		if block.Output != "" {
			require.NoError(t, readme.Match(block.Output, printed), "section %q, line %d", section.Name, block.Line)
		}
	}
}

// nothingLeft is an error while a namespace or a release of an example is there.
func (g *Guide) nothingLeft(ctx context.Context) error {
	namespaces, err := g.namespaces(ctx)
	if err != nil {
		return err
	}
	if len(namespaces) > 0 {
		return fmt.Errorf("namespaces are left: %v", namespaces)
	}
	// Helm 3 lists only deployed releases by default, and Helm 4 has no --all.
	releases, err := g.Stage.Helm(ctx, "list", "--all-namespaces", "--short", "--deployed", "--failed", "--pending",
		"--superseded", "--uninstalled", "--uninstalling")
	if err == nil && strings.TrimSpace(releases) != "" {
		err = errors.New("releases are left: " + releases)
	}
	return err
}

func (g *Guide) namespaces(ctx context.Context) ([]string, error) {
	list, err := g.Stage.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range list.Items {
		if n.Name == "akv2k8s" || strings.HasPrefix(n.Name, "example-") {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// tidy removes what an example left that failed, so that the next one has a clean cluster, and says what there was.
func (g *Guide) tidy(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	g.describe(ctx, t)
	uninstall := []string{"uninstall", "akv2k8s", "--namespace", "akv2k8s", "--ignore-not-found", "--wait"}
	if _, err := g.Stage.Helm(ctx, uninstall...); err != nil {
		t.Log(err)
	}
	names, err := g.namespaces(ctx)
	if err != nil {
		t.Log(err)
	}
	for _, name := range names {
		if err := g.Stage.Kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Log(err)
		}
	}
	if err := stage.Await(ctx, 2*time.Minute, "the end of what the example made", g.nothingLeft); err != nil {
		t.Log(err)
	}
	g.Azure.Forget()
}

// describe logs the pods that are not ready.
func (g *Guide) describe(ctx context.Context, t *testing.T) {
	pods, err := g.Stage.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			if pod.Status.Phase != corev1.PodSucceeded && !c.Ready {
				t.Logf("%s/%s: %s is not ready: %+v", pod.Namespace, pod.Name, c.Name, c.State)
			}
		}
	}
}
