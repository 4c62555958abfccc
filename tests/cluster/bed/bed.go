package bed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/cluster/local"
)

// Cluster is one kind of cluster.
type Cluster interface {
	// Up makes it run; on a running one it changes nothing.
	Up(ctx context.Context) error
	// Down removes it and every trace.
	Down(ctx context.Context) error
	// Status says in a line what there is.
	Status(ctx context.Context) string
	// Load makes images available to pods, from archives by image name.
	Load(ctx context.Context, archives map[string]string) error
	// Kubeconfig is the path of an administrator's kubeconfig.
	Kubeconfig() string
	// Programs is the folder of kubectl, empty if the user has his own.
	Programs(ctx context.Context) string
}

// Config says which cluster.
type Config struct {
	// Root of the repository.
	Root string
	// Name of the cluster; clusters of different names or repositories don't meet.
	Name string
	// Getenv reads CLUSTER, KUBECONFIG, IMAGE_REGISTRY, XDG_CACHE_HOME, KUBERNETES, which is the minor version of a
	// local cluster, and FIPS, which chooses the images with the FIPS 140-3 module.
	Getenv func(string) string
	// Progress gets a line for each step.
	Progress io.Writer
	// Run executes a program; nil means really.
	Run func(ctx context.Context, program string, args ...string) error
}

// Open chooses the kind of cluster: CLUSTER, else kind if a docker engine and kind are there, else local. The choice is
// printed.
func Open(ctx context.Context, c Config) (Cluster, error) {
	if c.Run == nil {
		c.Run = c.execute
	}
	cache, err := c.Cache()
	if err != nil {
		return nil, err
	}
	minor := c.Getenv("KUBERNETES")
	if minor != "" {
		c.Name += "-" + minor // clusters of two versions don't meet
	}
	work := filepath.Join(cache, "clusters", short(c.Root)+"-"+c.Name)
	choice := c.Getenv("CLUSTER")
	if choice == "" {
		choice = c.choose(ctx)
	}
	fmt.Fprintf(c.Progress, "cluster %s: %s (CLUSTER=kind|current|local chooses)\n", c.Name, choice)
	switch choice {
	case "local":
		version, err := build.KubernetesOf(minor)
		return &local.Cluster{Root: c.Root, Work: work, Cache: cache, Kubernetes: version, Progress: c.Progress}, err
	case "kind":
		return &kind{Config: c, work: work}, nil
	case "current":
		return &current{Config: c}, nil
	}
	return nil, fmt.Errorf("CLUSTER=%s is not known; use kind, current or local", choice)
}

func (c Config) choose(ctx context.Context) string {
	// Asked of the engine, not of the client: a docker client without an engine is present on some machines.
	if exec.CommandContext(ctx, "docker", "info").Run() == nil &&
		exec.CommandContext(ctx, "kind", "version").Run() == nil {
		return "kind"
	}
	return "local"
}

// Cache is the folder for everything that is kept outside the repository.
func (c Config) Cache() (string, error) {
	base := c.Getenv("XDG_CACHE_HOME")
	if base == "" {
		if c.Getenv("HOME") == "" {
			return "", errors.New("neither XDG_CACHE_HOME nor HOME is set; set one of them")
		}
		base = filepath.Join(c.Getenv("HOME"), ".cache")
	}
	return filepath.Join(base, "akv2k8s"), nil
}

// LoadProduct builds every image of the product and of the test bed, loads them, and returns the archives by image
// name.
func LoadProduct(ctx context.Context, c Config, cluster Cluster) (map[string]string, error) {
	maker, err := c.imageMaker()
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(c.Progress, "building the images")
	archives, err := maker.All(ctx)
	if err != nil {
		return nil, err
	}
	return archives, cluster.Load(ctx, archives)
}

// LoadOne builds one image of the product, such as controller, and loads it.
func LoadOne(ctx context.Context, c Config, cluster Cluster, name string) error {
	maker, err := c.imageMaker()
	if err != nil {
		return err
	}
	archives, err := maker.One(ctx, name)
	if err != nil {
		return err
	}
	return cluster.Load(ctx, archives)
}

// FIPS says whether the images with the FIPS 140-3 module are wanted.
func (c Config) FIPS() bool { return c.Getenv("FIPS") == "1" }

// imageMaker makes images into the cache.
func (c Config) imageMaker() (image.Maker, error) {
	cache, err := c.Cache()
	if err != nil {
		return image.Maker{}, err
	}
	into := filepath.Join(cache, "images", short(c.Root))
	return image.Maker{Root: c.Root, Into: into, Progress: c.Progress, FIPS: c.FIPS()}, os.MkdirAll(into, 0o755)
}

// Root finds the repository that a folder is in.
func Root(from string) (string, error) {
	for folder := from; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "charts", "akv2k8s")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s is not inside the repository", from)
		}
	}
}

func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:8]
}

func (c Config) execute(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = c.Progress, c.Progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}
