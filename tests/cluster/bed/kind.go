package bed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
)

// kind is a cluster in docker, for machines that have an engine.
type kind struct {
	Config
	work string
}

func (k *kind) name() string { return "akv2k8s-" + k.Name }

// Kubeconfig implements Cluster.
func (k *kind) Kubeconfig() string { return filepath.Join(k.work, "kubeconfig") }

// Up implements Cluster.
func (k *kind) Up(ctx context.Context) error {
	if k.Status(ctx) == "up" {
		return nil
	}
	if err := os.MkdirAll(k.work, 0o755); err != nil {
		return err
	}
	azure, config := filepath.Join(k.work, "azure.json"), filepath.Join(k.work, "kind.yaml")
	if err := os.WriteFile(azure, []byte(local.AzureJSON()), 0o600); err != nil {
		return err
	}
	content := fmt.Sprintf("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n  "+
		"extraMounts:\n  - {hostPath: %q, containerPath: /etc/kubernetes/azure.json}\n", azure)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		return err
	}
	args := []string{"create", "cluster", "--name", k.name(), "--kubeconfig", k.Kubeconfig(), "--config", config,
		"--wait", "120s"}
	if image := k.Getenv("KIND_IMAGE"); image != "" { // another version of Kubernetes than kind's own
		args = append(args, "--image", image)
	}
	if err := k.Run(ctx, "kind", args...); err != nil {
		return err
	}
	if err := k.Run(ctx, "docker", "exec", k.name()+"-control-plane", "ip", "addr", "add", "169.254.169.254/32", "dev",
		"lo"); err != nil {
		return err
	}
	return rewriteNames(ctx, k.Config, k.Kubeconfig(), true)
}

// Down implements Cluster.
func (k *kind) Down(ctx context.Context) error {
	if err := k.Run(ctx, "kind", "delete", "cluster", "--name", k.name()); err != nil {
		return err
	}
	return os.RemoveAll(k.work)
}

// Status implements Cluster.
func (k *kind) Status(ctx context.Context) string {
	if k.Run(ctx, "kubectl", "--kubeconfig", k.Kubeconfig(), "get", "--raw", "/readyz") == nil {
		return "up"
	}
	return "down"
}

// Load implements Cluster.
func (k *kind) Load(ctx context.Context, archives map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		if err := k.Run(ctx, "kind", "load", "image-archive", archives[name], "--name", k.name()); err != nil {
			return err
		}
	}
	return nil
}

// current is whatever cluster KUBECONFIG names; it is neither made nor removed.
type current struct{ Config }

// Kubeconfig implements Cluster.
func (c *current) Kubeconfig() string { return c.Getenv("KUBECONFIG") }

// Up implements Cluster: it checks that the cluster answers and leads Azure's names to the emulator.
func (c *current) Up(ctx context.Context) error {
	if c.Kubeconfig() == "" {
		return fmt.Errorf("CLUSTER=current needs KUBECONFIG; set it to the kubeconfig of a test cluster")
	}
	if err := c.Run(ctx, "kubectl", "get", "--raw", "/readyz"); err != nil {
		return fmt.Errorf("the cluster of KUBECONFIG does not answer: %w", err)
	}
	return rewriteNames(ctx, c.Config, c.Kubeconfig(), true)
}

// Down implements Cluster: it takes the names back.
func (c *current) Down(ctx context.Context) error {
	return rewriteNames(ctx, c.Config, c.Kubeconfig(), false)
}

// Status implements Cluster.
func (c *current) Status(ctx context.Context) string {
	if c.Run(ctx, "kubectl", "get", "--raw", "/readyz") == nil {
		return "up"
	}
	return "down"
}

// Load implements Cluster: a foreign cluster pulls from a registry that the user names.
func (c *current) Load(ctx context.Context, archives map[string]string) error {
	registry := c.Getenv("IMAGE_REGISTRY")
	if registry == "" {
		return fmt.Errorf("CLUSTER=current needs IMAGE_REGISTRY, a registry path that you may push to and the " +
			"cluster may pull from")
	}
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		to := strings.TrimSuffix(registry, "/") + "/" + filepath.Base(name)
		if err := c.Run(ctx, "go", "run", "github.com/google/go-containerregistry/cmd/crane@v0.22.1", "push",
			archives[name], to); err != nil {
			return err
		}
	}
	return nil
}

// Programs implements Cluster.
func (k *kind) Programs(context.Context) string { return "" }

// Programs implements Cluster.
func (c *current) Programs(context.Context) string { return "" }
