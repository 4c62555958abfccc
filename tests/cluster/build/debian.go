package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// need is a file and the Debian package that brings it.
type need struct{ file, pkg string }

// needsOfChecks are what tests without a cluster and linters run.
func needsOfChecks() []need {
	// openssl is in the commands of examples.
	return []need{{"/usr/bin/yamllint", "yamllint"}, {"/usr/bin/openssl", "openssl"}}
}

// needsOfClusters are what a local cluster runs.
func needsOfClusters() []need {
	return []need{
		{"/usr/sbin/runc", "runc"}, {"/usr/sbin/iptables", "iptables"}, {"/usr/sbin/nft", "nftables"},
		{"/usr/sbin/conntrack", "conntrack"}, {"/usr/lib/cni/bridge", "containernetworking-plugins"},
		{"/bin/busybox", "busybox-static"}, {"/sbin/ip", "iproute2"}, {"/usr/bin/nsenter", "util-linux"},
	}
}

// needsOfReleases run programs of another architecture, and sign.
func needsOfReleases() []need {
	return []need{{"/usr/bin/qemu-aarch64-static", "qemu-user-static"}, {"/usr/bin/gpg", "gnupg"}}
}

// ReleasePackages installs the Debian packages that a rehearsal of a release needs and that are missing.
func (b Builder) ReleasePackages(ctx context.Context) error {
	return b.packages(ctx, needsOfReleases())
}

// ClusterPackages installs the Debian packages that a local cluster needs and that are missing.
func (b Builder) ClusterPackages(ctx context.Context) error {
	return b.packages(ctx, needsOfClusters())
}

// CheckPackages installs those that tests without a cluster need.
func (b Builder) CheckPackages(ctx context.Context) error { return b.packages(ctx, needsOfChecks()) }

// SitePackages installs what builds the documentation's site, unless the machine has it.
func (b Builder) SitePackages(ctx context.Context) error {
	return b.packages(ctx, []need{onPath("node", "nodejs"), onPath("npm", "npm")})
}

// Browser is the path of Chromium or Chrome, which it installs if the machine has none.
func (b Builder) Browser(ctx context.Context) (string, error) {
	for _, program := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if path, err := exec.LookPath(program); err == nil {
			return path, nil
		}
	}
	const installed = "/usr/bin/chromium"
	return installed, b.packages(ctx, []need{{installed, "chromium"},
		{"/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"}})
}

// onPath is the need of a program that machines have in different folders.
func onPath(program, pkg string) need {
	if path, err := exec.LookPath(program); err == nil {
		return need{path, pkg}
	}
	return need{"/usr/bin/" + program, pkg}
}

func (b Builder) packages(ctx context.Context, needs []need) error {
	var missing []string
	for _, n := range needs {
		if _, err := os.Stat(n.file); err != nil {
			missing = append(missing, n.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	b.say("installing Debian packages: %s", strings.Join(missing, " "))
	for _, args := range [][]string{{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s\ninstall these by hand on another distribution: %s",
				args[0], err, out, strings.Join(missing, " "))
		}
	}
	return nil
}
