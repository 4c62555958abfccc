package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/host"
)

// The identity that the node's azure.json names; the emulator is seeded with the same.
const (
	TenantID                = "11111111-1111-4111-8111-111111111111"
	KubeletIdentityClientID = "22222222-2222-4222-8222-222222222222"
)

// node is the name of the one node.
const node = "node1"

// Cluster is a local cluster in a work folder. It may be down.
type Cluster struct {
	// Root of the repository.
	Root string
	// Work folder of this cluster, outside the repository.
	Work string
	// Cache of built programs, shared by all clusters.
	Cache string
	// Kubernetes is the version to build.
	Kubernetes build.Kubernetes
	// Progress gets a line for each step.
	Progress io.Writer

	started time.Time
	bin     map[string]string
	spaces  host.Namespaces
}

// Kubeconfig is the path of the administrator's kubeconfig, for use on this machine.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Work, "admin.kubeconfig") }

// AuditLog is the path of the API server's audit log: the witness of what was written, and by whom.
func (c *Cluster) AuditLog() string { return filepath.Join(c.Work, "audit.log") }

// ServiceAccountKey is the path of the key that signs service-account tokens; tests mint expired tokens with it.
func (c *Cluster) ServiceAccountKey() string { return filepath.Join(c.Work, "pki", "sa.key") }

// Programs is the folder with kubectl; empty if it can't be built.
func (c *Cluster) Programs(ctx context.Context) string {
	folders, err := build.Builder{Root: c.Root, Cache: c.Cache, Progress: c.Progress}.All(ctx, c.Kubernetes)
	if err != nil {
		return ""
	}
	return folders["kubernetes"]
}

// OnNode starts a program in the node's network with the administrator's kubeconfig; what it prints goes to
// log/NAME.log in the work folder. It ends with the cluster, as everything whose command line names the work folder; so
// one of the arguments has to.
func (c *Cluster) OnNode(program string, args ...string) error {
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, c.Work+"/") }) {
		return fmt.Errorf("starting %s: no argument names the work folder, so it would stay when the cluster goes",
			program)
	}
	return c.spaces.Start(filepath.Base(program), nil, "/usr/bin/env",
		append([]string{"KUBECONFIG=" + c.Kubeconfig(), program}, args...)...)
}

// NodeIP is the address of the one node.
func (c *Cluster) NodeIP() string { return c.spaces.NodeIP() }

// Log is the path of what a part of the cluster printed.
func (c *Cluster) Log(name string) string { return c.path("log", name+".log") }

func (c *Cluster) id() host.ID { return host.IDOf(c.Work) }

// Up makes the cluster run and returns when the node and the cluster's DNS are ready. If it runs already nothing is
// changed.
func (c *Cluster) Up(ctx context.Context) error {
	c.started = time.Now()
	if c.healthy(ctx) {
		c.say("the cluster is up already")
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("a local cluster needs root (namespaces, mounts); run as root, or use CLUSTER=kind or " +
			"CLUSTER=current")
	}
	builder := build.Builder{Root: c.Root, Cache: c.Cache, Progress: c.Progress}
	if err := builder.ClusterPackages(ctx); err != nil {
		return err
	}
	var err error
	if c.bin, err = builder.All(ctx, c.Kubernetes); err != nil {
		return err
	}
	c.started = time.Now()
	if err := c.Down(ctx); err != nil { // also what a killed run left
		return err
	}
	for _, step := range []func(context.Context) error{c.prepare, c.control, c.node, c.addons} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%w; the logs are in %s", err, filepath.Join(c.Work, "log"))
		}
	}
	c.say("the cluster is up")
	return nil
}

// Down stops the cluster and removes all of it. It works as well on what a killed run left, and on nothing.
func (c *Cluster) Down(ctx context.Context) error {
	id := c.id()
	if c.started.IsZero() {
		c.started = time.Now()
	}
	if len(host.Processes(id, c.Work)) > 0 {
		c.say("stopping the cluster")
		c.stopInOrder(ctx)
	}
	spaces := host.Namespaces{ID: id, Work: c.Work}
	if err := spaces.Close(); err != nil {
		return err
	}
	if err := unmount(c.Work); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Work); err != nil {
		return fmt.Errorf("removing the work folder: %w", err)
	}
	return nil
}

// Status says in a line what there is.
func (c *Cluster) Status(ctx context.Context) string {
	switch {
	case c.healthy(ctx):
		return "up: export KUBECONFIG=" + c.Kubeconfig()
	case len(host.Processes(c.id(), c.Work)) > 0:
		return "broken: some parts run; up repairs it, down removes it"
	default:
		return "down"
	}
}

func (c *Cluster) say(format string, args ...any) {
	fmt.Fprintf(c.Progress, "[%5.1fs] %s\n", time.Since(c.started).Seconds(), fmt.Sprintf(format, args...))
}
