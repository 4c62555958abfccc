package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

// RestartNode does to the node what a restart of its machine does, and returns when it takes pods again. Every program
// on it is killed, and what was in memory is lost: memory volumes, and the state of the container runtime. The control
// plane goes on.
func (c *Cluster) RestartNode(ctx context.Context) error {
	c.started = time.Now()
	builder := build.Builder{Root: c.Root, Cache: c.Cache, Progress: c.Progress}
	var err error
	if c.bin, err = builder.All(ctx, c.Kubernetes); err != nil {
		return err
	}
	holder, ok := host.Holder(c.id(), c.Work)
	if !ok {
		return errors.New("the cluster is down; bring it up first")
	}
	for _, program := range []string{"kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2"} {
		c.killAll(program)
	}
	c.killContainers(ctx)
	if err := c.loseMemory(holder); err != nil {
		return err
	}
	if err := c.startContainerd(ctx); err != nil {
		return err
	}
	return c.node(ctx)
}

// killAll kills every process of a program, and waits until they are gone.
func (c *Cluster) killAll(program string) {
	for pid, ok := host.Running(c.id(), c.Work, program); ok; pid, ok = host.Running(c.id(), c.Work, program) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		time.Sleep(20 * time.Millisecond) // a killed process ends a moment later
	}
}

// loseMemory unmounts what containers and memory volumes have mounted on the node, and removes the state of the
// container runtime.
func (c *Cluster) loseMemory(holder int) error {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", holder))
	if err != nil {
		return err
	}
	var lost []string
	for line := range strings.Lines(string(mounts)) {
		path := strings.Fields(line)[1]
		for _, folder := range []string{c.path("kubelet") + "/", c.path("containerd", "state") + "/", "/run/netns/"} {
			if strings.HasPrefix(path, folder) {
				lost = append(lost, path)
			}
		}
	}
	slices.Reverse(lost) // the last is mounted over the others
	script := `for path; do umount -l "$path" || exit; done; rm -rf /run/netns/* "$STATE"`
	inside := []string{"-t", strconv.Itoa(holder), "-m", "--", "sh", "-c", script, "sh"}
	cmd := exec.Command("nsenter", append(inside, lost...)...)
	cmd.Env = append(os.Environ(), "STATE="+c.path("containerd", "state"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unmounting %d paths of the node: %w: %s", len(lost), err, out)
	}
	c.say("the node has lost its memory: %d mounts", len(lost))
	return nil
}
