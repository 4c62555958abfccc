package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
)

// Images that the cluster itself runs.
const (
	pauseImage   = "localhost/pause:1"
	corednsImage = "localhost/coredns:1"
)

// startContainerd starts containerd, and waits until it answers.
func (c *Cluster) startContainerd(ctx context.Context) error {
	err := c.start("containerd", "containerd", "-c", c.path("containerd.toml"))
	if err != nil {
		return err
	}
	for range 100 {
		if err = c.ctr(ctx, "version"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("waiting for containerd: %w", err)
}

// images starts containerd and loads what the cluster itself needs.
func (c *Cluster) images(ctx context.Context) error {
	if err := c.startContainerd(ctx); err != nil {
		return err
	}
	maker := image.Maker{Root: c.Root, Into: c.path("run"), Progress: c.Progress}
	pause, err := c.pauseArchive(ctx)
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(filepath.Join(c.bin["coredns"], "coredns"))
	if err != nil {
		return err
	}
	dns, err := maker.Of(corednsImage, binary)
	if err != nil {
		return err
	}
	for _, archive := range []string{pause, dns} {
		if err := c.ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	c.say("containerd is ready")
	return nil
}

// ctr runs ctr with the container runtime of the first node.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	return c.ctrOn(ctx, "containerd.sock", args...)
}

// ctrOn runs ctr with the container runtime at a socket.
func (c *Cluster) ctrOn(ctx context.Context, socket string, args ...string) error {
	if c.bin == nil {
		pid, ok := host.Running(c.id(), c.Work, "containerd")
		if !ok {
			return fmt.Errorf("the cluster is down; bring it up first")
		}
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			return err
		}
		c.bin = map[string]string{"containerd": filepath.Dir(program)}
	}
	program := filepath.Join(c.bin["containerd"], "ctr")
	cmd := exec.CommandContext(ctx, program,
		append([]string{"-a", c.path("run", socket), "-n", "k8s.io"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// pauseArchive makes the archive of the image of every pod's sandbox.
func (c *Cluster) pauseArchive(ctx context.Context) (string, error) {
	return image.Maker{Root: c.Root, Into: c.path("run"), Progress: c.Progress}.Static(ctx, pauseImage,
		"./tests/cluster/pause")
}

// Load brings archives of images onto the node. An import of what the node has already changes nothing.
func (c *Cluster) Load(ctx context.Context, archives map[string]string) error {
	c.started = time.Now()
	if err := c.ctr(ctx, "version"); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(2)
	for name, archive := range archives {
		group.Go(func() error {
			if err := c.ctr(ctx, "images", "import", archive); err != nil {
				return err
			}
			c.say("loaded %s", name)
			return nil
		})
	}
	return group.Wait()
}
