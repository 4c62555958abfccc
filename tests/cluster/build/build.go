package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Kubernetes is a version of Kubernetes that a local cluster can have.
type Kubernetes struct {
	// Version is the one that the module in Folder pins; the programs are told it at link time.
	Version, Folder string
	// ProxyGates are feature gates that kube-proxy needs for its nftables mode.
	ProxyGates string
}

// KubernetesOf finds the version of a minor, such as 1.30; empty means that of all tests.
func KubernetesOf(minor string) (Kubernetes, error) {
	switch minor {
	case "", "1.37":
		return Kubernetes{Version: "1.37.2", Folder: "kubernetes"}, nil
	case "1.30": // the oldest that the chart accepts
		return Kubernetes{Version: "1.30.14", Folder: "kubernetes-1.30", ProxyGates: "NFTablesProxyMode=true"}, nil
	}
	return Kubernetes{}, fmt.Errorf("KUBERNETES=%s is not known; use 1.30 or 1.37", minor)
}

// Module is a nested Go module and the programs to build from it.
type Module struct {
	// Name is for messages and the cache.
	Name string
	// Folder of the module in the repository.
	Folder string
	// Packages to build, one program each; the program's name is the last part of the path.
	Packages []string
	// Tags and Flags are go build's -tags and -ldflags.
	Tags, Flags string
}

// OldKubelet is the version of the second node of a local cluster: it reads no env files and mounts no images.
const OldKubelet = "1.34.4"

// OldKubelet builds the kubelet of the second node, and returns the folder of the program.
func (b Builder) OldKubelet(ctx context.Context) (string, error) {
	return b.module(ctx, Module{Name: "kubelet", Folder: "tests/cluster/modules/kubelet-1.34",
		Flags: versionFlags(OldKubelet), Packages: []string{"k8s.io/kubernetes/cmd/kubelet"}})
}

// versionFlags are the flags of the linker that tell the programs their version.
func versionFlags(version string) string {
	flags, minor := "-s -w", strings.Split(version, ".")[1]
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %s.gitVersion=v%s -X %s.gitMajor=1 -X %s.gitMinor=%s", pkg, version, pkg, pkg, minor)
	}
	return flags
}

// Modules are the parts of a local cluster of a version of Kubernetes.
func Modules(k Kubernetes) []Module {
	const folder = "tests/cluster/modules/"
	kubernetes := Module{Name: "kubernetes", Folder: folder + k.Folder, Flags: versionFlags(k.Version)}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
		"kube-proxy", "kubectl"} {
		kubernetes.Packages = append(kubernetes.Packages, "k8s.io/kubernetes/cmd/"+name)
	}
	const containerd = "github.com/containerd/containerd/v2/cmd/"
	return []Module{
		kubernetes,
		{Name: "containerd", Folder: folder + "containerd", Tags: "no_btrfs", Flags: "-s -w", Packages: []string{
			containerd + "containerd", containerd + "containerd-shim-runc-v2", containerd + "ctr",
			"go.etcd.io/etcd/server/v3"}},
		{Name: "coredns", Folder: folder + "coredns", Flags: "-s -w", Packages: []string{"."}},
	}
}

// Tools are programs for development and tests, by name.
func Tools() map[string]Module {
	const lib = "helm.sh/helm/v3/pkg/chartutil"
	return map[string]Module{
		// Without these flags helm believes that the cluster is of version 1.20 and refuses charts.
		"helm": {Name: "helm", Folder: "tests/tools/helm", Packages: []string{"helm.sh/helm/v3/cmd/helm"},
			Flags: "-s -w -X " + lib + ".k8sVersionMajor=1 -X " + lib +
				".k8sVersionMinor=36 -X helm.sh/helm/v3/internal/version.version=v3.22.0"},
		// Helm 4 asks the modules that it was built with for the cluster's version.
		"helm4": {Name: "helm4", Folder: "tests/tools/helm4", Packages: []string{"helm.sh/helm/v4/cmd/helm"},
			Flags: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"},
		"nmi": {Name: "nmi", Folder: "tests/tools/nmi", Flags: "-s -w",
			Packages: []string{"github.com/Azure/aad-pod-identity/cmd/nmi"}},
		"golangci-lint": {Name: "golangci-lint", Folder: "tests/tools/golangci-lint", Flags: "-s -w",
			Packages: []string{"github.com/golangci/golangci-lint/v2/cmd/golangci-lint"}},
		"govulncheck": {Name: "govulncheck", Folder: "tests/tools/govulncheck", Flags: "-s -w",
			Packages: []string{"golang.org/x/vuln/cmd/govulncheck"}},
		"kube-score": {Name: "kube-score", Folder: "tests/tools/kube-score", Flags: "-s -w",
			Packages: []string{"github.com/zegl/kube-score/cmd/kube-score"}},
		// It checks the dashboard and the alerts of the chart with the types of Grafana and Prometheus.
		"monitoring": {Name: "monitoring", Folder: "tests/tools/monitoring", Flags: "-s -w",
			Packages: []string{"github.com/akv2k8s/akv2k8s/tests/tools/monitoring"}},
		"actionlint": {Name: "actionlint", Folder: "tests/tools/actionlint", Flags: "-s -w",
			Packages: []string{"github.com/rhysd/actionlint/cmd/actionlint"}},
		"ct": {Name: "ct", Folder: "tests/tools/ct", Packages: []string{"github.com/helm/chart-testing/v3/ct"},
			Flags: "-s -w -X github.com/helm/chart-testing/v3/ct/cmd.Version=v3.14.0"},
		"controller-gen": {Name: "controller-gen", Folder: "tests/tools/controller-gen", Flags: "-s -w",
			Packages: []string{"sigs.k8s.io/controller-tools/cmd/controller-gen"}},
	}
}

// Tool builds a tool if it is not in the cache, and returns the program's path.
func (b Builder) Tool(ctx context.Context, name string) (string, error) {
	m, ok := Tools()[name]
	if !ok {
		return "", fmt.Errorf("there is no tool %q", name)
	}
	folder, err := b.module(ctx, m)
	return filepath.Join(folder, filepath.Base(m.Packages[0])), err
}

// Builder builds modules into a cache.
type Builder struct {
	// Root of the repository.
	Root string
	// Cache is the folder outside the repository where programs are kept.
	Cache string
	// Progress gets a line for each step.
	Progress io.Writer
}

// All builds every module of a cluster that is not in the cache, and returns the folder of programs of each by module
// name.
func (b Builder) All(ctx context.Context, k Kubernetes) (map[string]string, error) {
	folders := map[string]string{}
	for _, m := range Modules(k) {
		folder, err := b.module(ctx, m)
		if err != nil {
			return nil, err
		}
		folders[m.Name] = folder
	}
	return folders, nil
}

func (b Builder) module(ctx context.Context, m Module) (string, error) {
	source := filepath.Join(b.Root, m.Folder)
	key, err := m.key(source)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(b.Cache, "bin", m.Name+"-"+key)
	unlock, err := b.lock(folder)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	start := time.Now()
	b.say("building %s from source (once; some minutes on two cores) …", m.Name)
	// Built beside and renamed, so that a killed build never looks like a finished one.
	partial := folder + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", err
	}
	if err := b.compile(ctx, m, source, partial); err != nil {
		return "", err
	}
	b.say("built %s in %s", m.Name, time.Since(start).Round(time.Second))
	return folder, os.Rename(partial, folder)
}

func (b Builder) compile(ctx context.Context, m Module, source, into string) error {
	args := append([]string{"build", "-trimpath", "-o", into + "/", "-tags", m.Tags, "-ldflags", m.Flags},
		m.Packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = source, b.Progress, b.Progress
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w; try: cd %s && go %s", m.Name, err, source, strings.Join(args, " "))
	}
	return nil
}

// key is a hash of everything that the programs are made of.
func (m Module) key(source string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, m.Packages, m.Tags, m.Flags)
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil && (!os.IsNotExist(err) || name != "main.go") {
			return "", err
		}
		_, _ = h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// lock keeps two builds of one module apart.
func (b Builder) lock(folder string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return func() { _ = file.Close() }, nil
}

func (b Builder) say(format string, args ...any) { fmt.Fprintf(b.Progress, format+"\n", args...) }
