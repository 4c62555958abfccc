//go:build cluster

package faults

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
	"github.com/akv2k8s/akv2k8s/tests/stage"
	"github.com/akv2k8s/akv2k8s/tests/stage/stagetest"
)

func config(t *testing.T, name string) bed.Config {
	t.Helper()
	c := stagetest.Config(t, name)
	c.Getenv = func(key string) string {
		if key == "CLUSTER" {
			return "local" // these are tests of the local kind
		}
		return os.Getenv(key)
	}
	return c
}

// cluster opens a local cluster that is taken down after the test.
func cluster(t *testing.T, name string) *local.Cluster {
	t.Helper()
	c, err := bed.Open(t.Context(), config(t, name))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Down(context.WithoutCancel(t.Context()))) })
	return c.(*local.Cluster)
}

func kube(t *testing.T, c *local.Cluster) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

// traces are everything on this machine that a cluster could leave behind.
func traces(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/akv2k8s-*", "/sys/fs/cgroup/*/akv2k8s-*", "/run/netns/*", "/var/lib/cni/*", "/var/lib/kubelet/*",
		"/etc/kubernetes/*", "/etc/cni/*", "/var/log/pods/*", "/var/log/containers/*", "/run/containerd/*"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		found = append(found, files...)
	}
	for _, folder := range []string{"/var/lib/cni", "/var/lib/kubelet", "/etc/kubernetes", "/etc/cni"} {
		if _, err := os.Stat(folder); err == nil {
			found = append(found, folder)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		found = append(found, "mount "+strings.Fields(line)[1])
	}
	links, err := net.Interfaces()
	require.NoError(t, err)
	for _, link := range links {
		found = append(found, "link "+link.Name)
	}
	slices.Sort(found)
	return append(found, processes(t)...)
}

// processes are those of any cluster of ours: by what they were started with, or by their cgroup.
func processes(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	var found []string
	for _, folder := range folders {
		words, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil {
			continue // it ended meanwhile
		}
		cgroup, err := os.ReadFile(filepath.Join(folder, "cgroup"))
		if err != nil {
			continue
		}
		if strings.Contains(string(words), "/akv2k8s/clusters/") || strings.HasPrefix(string(words), "akv2k8s-") || strings.Contains(string(cgroup), "/akv2k8s-") {
			program, _, _ := strings.Cut(string(words), "\x00")
			found = append(found, "process "+filepath.Base(program)+" "+filepath.Base(folder))
		}
	}
	slices.Sort(found)
	return found
}

// restarts counts the restarts of all containers, and says how many run.
func restarts(t *testing.T, client kubernetes.Interface) (count int32, running int) {
	t.Helper()
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			count += c.RestartCount
			if c.State.Running != nil {
				running++
			}
		}
	}
	return count, running
}

// run starts a pod that does nothing, and waits until it runs.
func run(t *testing.T, c *local.Cluster, name string) {
	t.Helper()
	folder := t.TempDir()
	version, err := image.Maker{Root: c.Root}.Version()
	require.NoError(t, err)
	spec, err := image.Testbox(version)
	require.NoError(t, err)
	archive := filepath.Join(folder, "testbox.tar")
	require.NoError(t, image.Write(spec, archive))
	require.NoError(t, c.Load(t.Context(), map[string]string{spec.Name: archive}))
	client := kube(t, c)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "sleep", Image: spec.Name, ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "100000"}}}}}
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the pod to be created", func(ctx context.Context) error {
		// the service account takes a moment
		_, err := client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	}))
	require.NoError(t, stage.Await(t.Context(), time.Minute, "the pod to run", func(ctx context.Context) error {
		got, err := client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err == nil && got.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s", got.Status.Phase)
		}
		return err
	}))
}

// TestClustersDoNotMeetAndLeaveNothing runs two clusters side by side, kills one as rudely as can be, and looks for
// what is left in the end.
func TestClustersDoNotMeetAndLeaveNothing(t *testing.T) {
	before := traces(t)
	one, two := cluster(t, "faults-1"), cluster(t, "faults-2")
	var group sync.WaitGroup
	for _, c := range []*local.Cluster{one, two} {
		group.Go(func() { assert.NoError(t, c.Up(t.Context())) })
	}
	group.Wait()
	run(t, one, "one")
	run(t, two, "two")

	t.Run("side by side for 60 s without a restart", func(t *testing.T) {
		for range 6 {
			time.Sleep(10 * time.Second)
			for name, c := range map[string]*local.Cluster{"one": one, "two": two} {
				count, running := restarts(t, kube(t, c))
				assert.Zero(t, count, name)
				assert.Equal(t, 2, running, "%s: DNS and the pod", name)
			}
		}
		pods, err := kube(t, one).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		require.Len(t, pods.Items, 1)
		assert.Equal(t, "one", pods.Items[0].Name, "each has its own API server")
	})
	t.Run("after kill -9 of everything it comes up again, and the other did not notice", func(t *testing.T) {
		killed := 0
		for _, p := range host.Processes(host.IDOf(one.Work), one.Work) {
			if syscall.Kill(p.PID, syscall.SIGKILL) == nil {
				killed++
			}
		}
		require.Greater(t, killed, 8, "every part was killed")
		time.Sleep(time.Second)
		assert.NotContains(t, one.Status(t.Context()), "up:")
		require.NoError(t, one.Up(t.Context()))
		run(t, one, "again")
		count, running := restarts(t, kube(t, two))
		assert.Zero(t, count)
		assert.Equal(t, 2, running)
	})
	t.Run("up on a running cluster changes nothing", func(t *testing.T) {
		pids := processes(t)
		require.NoError(t, one.Up(t.Context()))
		assert.Equal(t, pids, processes(t))
	})
	t.Run("after down nothing is left", func(t *testing.T) {
		require.NotEqual(t, before, traces(t), "the search finds a cluster that is there")
		require.NoError(t, one.Down(t.Context()))
		count, _ := restarts(t, kube(t, two))
		assert.Zero(t, count, "the other still runs")
		require.NoError(t, two.Down(t.Context()))
		assert.Equal(t, before, traces(t))
		for _, c := range []*local.Cluster{one, two} {
			_, err := os.Stat(c.Work)
			assert.ErrorIs(t, err, fs.ErrNotExist)
			require.NoError(t, c.Down(t.Context()), "a second time it finds nothing to do")
		}
	})
}

// names are unique pod names.
func names(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, prefix+"-"+strconv.Itoa(i))
	}
	return all
}
