//go:build cluster

package packaging

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

// s is the stage of all tests.
var s *stage.Stage

// TestPackaging is the part that make test always runs: terratest by Helm 4, and ct install.
func TestPackaging(t *testing.T) {
	s = stagetest.Open(t, stagetest.Config(t, "packaging"))
	// First, on a cluster that never had the chart.
	t.Run("terratest", func(t *testing.T) { terratest(t, "helm4") })
	t.Run("ct install with every file of charts/akv2k8s/ci", func(t *testing.T) { chartTesting(t, 1) })
}

// TestPackagingAtLength is the suite: Helm 3 as well, upgrades by ct, and a helm test that has to fail.
func TestPackagingAtLength(t *testing.T) {
	s = stagetest.Open(t, stagetest.Config(t, "packaging"))
	t.Run("terratest", func(t *testing.T) { terratest(t, "helm4", "helm") })
	t.Run("ct install --upgrade with every file of charts/akv2k8s/ci", func(t *testing.T) { chartTesting(t, 2, "--upgrade") })
	t.Run("helm test names a component that is not ready", failingTest)
}

// chartTesting runs chart-testing as the workflow does. It installs the chart with each file, and runs helm test. With
// --upgrade it also upgrades to the same chart from the one that the last commit has.
func chartTesting(t *testing.T, rounds int, flags ...string) {
	out := run(t, repository(t), "ct", append([]string{"install", "--all", "--config", "ct.yaml"}, flags...)...)
	files, err := filepath.Glob(filepath.Join(s.Chart(), "ci", "*-values.yaml"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(files), 6)
	for _, file := range files {
		used := "charts/akv2k8s/ci/" + filepath.Base(file)
		assert.Contains(t, out, `with values file "`+used+`"`, "ct did not use it")
	}
	assert.Contains(t, out, "All charts installed successfully")
	assert.GreaterOrEqual(t, strings.Count(out, "ready: http://"), 2*rounds*len(files), "each helm test asked")
}

// repository is a copy of the repository with a remote, as ct wants it: the chart as it is here, and its previous
// revision as the last commit has it.
func repository(t *testing.T) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "repository")
	git := func(args ...string) {
		out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput()
		require.NoError(t, err, "git %s: %s", args, out)
	}
	git("clone", "--quiet", "file://"+s.Root, copied)
	git("-C", copied, "update-ref", "refs/remotes/origin/main", "HEAD")
	require.NoError(t, os.RemoveAll(filepath.Join(copied, "charts")))
	require.NoError(t, os.CopyFS(filepath.Join(copied, "charts"), os.DirFS(filepath.Join(s.Root, "charts"))))
	return copied
}

// run runs a program of tests/tools on the cluster, with helm and kubectl, and returns what it printed.
func run(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	path, err := s.Tool(t.Context(), program)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir, cmd.Env = folder, environment(t, s.HelmProgram())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	return out.String()
}

// environment is that of programs which run helm and kubectl on the cluster.
func environment(t *testing.T, helm string) []string {
	t.Helper()
	search := filepath.Dir(helm)
	if kubectl := s.Cluster.Programs(t.Context()); kubectl != "" {
		search += string(filepath.ListSeparator) + kubectl
	}
	search += string(filepath.ListSeparator) + os.Getenv("PATH")
	return append(os.Environ(), "KUBECONFIG="+s.Cluster.Kubeconfig(), "PATH="+search)
}

// failingTest takes a component away behind Helm's back.
func failingTest(t *testing.T) {
	require.NoError(t, s.Install(t.Context(), stage.Release{Name: home, Namespace: home}))
	t.Cleanup(func() {
		_, err := s.Helm(context.WithoutCancel(t.Context()), "uninstall", home, "--namespace", home, "--wait")
		assert.NoError(t, err)
	})
	out, err := s.Helm(t.Context(), "test", home, "--namespace", home, "--logs")
	require.NoError(t, err)
	assert.Contains(t, out, "ready: http://akv2k8s-controller:9000/readyz\nready: http://akv2k8s-envinjector:80/readyz")
	stopController(t, home)
	out, err = s.Helm(t.Context(), "test", home, "--namespace", home, "--logs")
	require.Error(t, err)
	assert.Contains(t, out, "not ready: http://akv2k8s-controller:9000/readyz")
	assert.Contains(t, out, "ready: http://akv2k8s-envinjector:80/readyz")
}

// stopController scales it to nothing, and waits until no pod of it is left.
func stopController(t *testing.T, namespace string) {
	t.Helper()
	none := []byte(`{"spec":{"replicas":0}}`)
	_, err := s.Kube.AppsV1().Deployments(namespace).Patch(t.Context(), "akv2k8s-controller", types.MergePatchType, none, metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the end of the controller", func(ctx context.Context) error {
		selector := metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=akv2k8s-controller"}
		pods, err := s.Kube.CoreV1().Pods(namespace).List(ctx, selector)
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%s is still there", pods.Items[0].Name)
		}
		return err
	}))
}
