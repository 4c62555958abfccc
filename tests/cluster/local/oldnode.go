package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

// OldNode is the name of the second node.
const OldNode = "node2"

// AddOldNode starts a second node with an older kubelet, and a container runtime of its own with these images. It
// shares the network of the first node, and its address; pods have another range of addresses.
func (c *Cluster) AddOldNode(ctx context.Context, archives map[string]string) error {
	c.started = time.Now()
	builder := build.Builder{Root: c.Root, Cache: c.Cache, Progress: c.Progress}
	kubelet, err := builder.OldKubelet(ctx)
	if err != nil {
		return err
	}
	if c.bin, err = builder.All(ctx, c.Kubernetes); err != nil {
		return err
	}
	if _, ok := host.Holder(c.id(), c.Work); !ok {
		return errors.New("the cluster is down; bring it up first")
	}
	cgroup, err := host.MakeNodeCgroups(c.id(), OldNode)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("cni2"), 0o755); err != nil {
		return err
	}
	for name, content := range c.oldNodeFiles(cgroup) {
		if err := os.WriteFile(c.path(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := c.spaces.Start("containerd2", []string{c.bin["containerd"]}, c.bin["containerd"]+"/containerd", "-c",
		c.path("containerd2.toml")); err != nil {
		return err
	}
	if err := c.loadOldNode(ctx, archives); err != nil {
		return err
	}
	if err := c.spaces.Start("kubelet2", []string{c.bin["containerd"]}, kubelet+"/kubelet",
		"--config="+c.path("kubelet2.yaml"), "--kubeconfig="+c.path("kubelet2.kubeconfig"),
		"--hostname-override="+OldNode, "--node-ip="+c.spaces.NodeIP(), "--root-dir="+c.path("kubelet2")); err != nil {
		return err
	}
	return c.awaitNode(ctx, OldNode)
}

// loadOldNode loads images into the container runtime of the second node.
func (c *Cluster) loadOldNode(ctx context.Context, archives map[string]string) error {
	pause, err := c.pauseArchive(ctx)
	if err != nil {
		return err
	}
	for range 100 {
		if err = c.ctrOn(ctx, "containerd2.sock", "version"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("waiting for the second containerd: %w", err)
	}
	all := []string{pause}
	for _, archive := range archives {
		all = append(all, archive)
	}
	for _, archive := range all {
		if err := c.ctrOn(ctx, "containerd2.sock", "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// oldNodeFiles are the configuration files of the second node, by name in the work folder: those of the first with
// other folders, ports and addresses.
func (c *Cluster) oldNodeFiles(cgroup string) map[string]string {
	w := c.Work + "/"
	runtime := strings.NewReplacer(w+"containerd/", w+"containerd2/", w+"run/containerd.sock",
		w+"run/containerd2.sock", w+"cni", w+"cni2")
	kubelet := strings.NewReplacer("/"+c.id().Cgroup()+"\n", "/"+cgroup+"\n", w+"run/containerd.sock",
		w+"run/containerd2.sock", w+"pki/kubelet.", w+"pki/kubelet2.", w+"pods-log", w+"pods-log2",
		w+"kubelet/", w+"kubelet2/")
	files := c.files()
	return map[string]string{
		"containerd2.toml": runtime.Replace(files["containerd.toml"]),
		"kubelet2.yaml":    kubelet.Replace(files["kubelet.yaml"]) + "port: 10350\nhealthzPort: 10348\n",
		"cni2/10.conflist": strings.NewReplacer("cni0", "cni1", "10.244.0.0/23", "10.244.4.0/24", w+"cni-ipam",
			w+"cni-ipam2").Replace(files["cni/10.conflist"]),
	}
}
