package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

// programs are the parts of a running cluster.
func programs() []string {
	return []string{"kubelet", "kube-proxy", "containerd", "kube-controller-manager", "kube-scheduler",
		"kube-apiserver", "server"}
}

func (c *Cluster) missing() []string {
	var missing []string
	for _, program := range programs() {
		if _, ok := host.Running(c.id(), c.Work, program); !ok {
			missing = append(missing, program)
		}
	}
	return missing
}

// stopInOrder ends the parts so that none waits for one that is gone: an API server without etcd would ignore the
// signal.
func (c *Cluster) stopInOrder(ctx context.Context) {
	id := c.id()
	host.Stop(id, c.Work, "kubelet", 5*time.Second)
	host.Stop(id, c.Work, "kube-proxy", 2*time.Second)
	c.killContainers(ctx)
	for _, program := range programs()[2:] {
		host.Stop(id, c.Work, program, 3*time.Second)
	}
}

// killContainers ends what runs in pods: everything in the cluster's cgroup, which leaves the shims to clean up after
// them.
func (c *Cluster) killContainers(ctx context.Context) {
	for range 20 {
		found := false
		for _, p := range host.Processes(c.id(), c.Work) {
			cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
			if err == nil && strings.Contains(string(cgroups), "/"+c.id().Cgroup()+"/") {
				found = true
				_ = syscall.Kill(p.PID, syscall.SIGKILL)
			}
		}
		if !found || ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// unmount takes away what is still mounted below the work folder on the machine itself; nothing should be, since all
// mounts are made in the cluster's own namespace.
func unmount(work string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var below []string
	for line := range strings.SplitSeq(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], work+"/") {
			below = append(below, fields[1])
		}
	}
	slices.Reverse(below)
	for _, path := range below {
		if out, err := exec.Command("umount", "-l", path).CombinedOutput(); err != nil {
			return fmt.Errorf("unmounting %s: %w: %s", path, err, out)
		}
	}
	return nil
}
