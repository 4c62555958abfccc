package plugin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra/doc"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/akv2k8s/akv2k8s/src/cli"
)

// Package is the Go package of the command line.
const Package = "./src/cmd/kubectl-akv2k8s"

// completionScript is a program kubectl_complete-akv2k8s, by which kubectl completes kubectl akv2k8s.
const completionScript = "#!/bin/sh\nexec kubectl akv2k8s __complete \"$@\"\n"

// platform is an operating system and an architecture.
type platform struct{ os, arch string }

// platforms are what a release has the command line for.
func platforms() []platform {
	return []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"},
		{"windows", "amd64"}}
}

// program is the name of the command line on the platform.
func (p platform) program() string {
	if p.os == "windows" {
		return "kubectl-akv2k8s.exe"
	}
	return "kubectl-akv2k8s"
}

// archive is the name of the platform's archive.
func (p platform) archive() string {
	extension := ".tar.gz"
	if p.os == "windows" {
		extension = ".zip"
	}
	return "kubectl-akv2k8s_" + p.os + "_" + p.arch + extension
}

// packedFile is a file of an archive.
type packedFile struct {
	content []byte
	mode    int64
}

// Packer packs the command line for a release.
type Packer struct {
	// Root is the repository, Dist the folder of the release, Cache the folder of built programs.
	Root, Dist, Cache string
	// Version of the release, without v; Created is the time that its files have.
	Version string
	Created time.Time
	// Out gets a line for each archive.
	Out io.Writer
}

// Write writes an archive of the command line for each platform, and the manifest for krew, into plugin of Dist.
func (p Packer) Write(ctx context.Context) error {
	into := filepath.Join(p.Dist, "plugin")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	shared, err := p.pluginFiles(p.Created)
	if err != nil {
		return err
	}
	sums := map[platform]string{}
	for _, on := range platforms() {
		files := maps.Clone(shared)
		content, err := p.compilePlugin(ctx, on, p.Version)
		if err != nil {
			return err
		}
		files[on.program()] = packedFile{content, 0o755}
		packed, err := packFiles(files, on, p.Created)
		if err != nil {
			return fmt.Errorf("packing %s: %w", on.archive(), err)
		}
		sums[on] = fmt.Sprintf("%x", sha256.Sum256(packed))
		if err := os.WriteFile(filepath.Join(into, on.archive()), packed, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(p.Out, "%s: %.1f MiB\n", on.archive(), float64(len(packed))/(1<<20))
	}
	manifest, err := krewManifest(p.Version, sums)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(into, "akv2k8s.yaml"), manifest, 0o644)
}

// compilePlugin builds the static program for a platform.
func (p Packer) compilePlugin(ctx context.Context, on platform, version string) ([]byte, error) {
	binary := filepath.Join(p.Cache, "programs", "plugin-"+on.os+"-"+on.arch)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary,
		"-ldflags", "-s -w -X github.com/akv2k8s/akv2k8s/src/version.version="+version, Package)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Root, p.Out, p.Out
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOOS="+on.os, "GOARCH="+on.arch)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building %s for %s/%s: %w", Package, on.os, on.arch, err)
	}
	return os.ReadFile(binary)
}

// pluginFiles are the files of every archive: the licence, the completion of kubectl, the completions of shells, and
// the manual pages.
func (p Packer) pluginFiles(created time.Time) (map[string]packedFile, error) {
	licence, err := os.ReadFile(filepath.Join(p.Root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	files := map[string]packedFile{"LICENSE": {licence, 0o644},
		"kubectl_complete-akv2k8s": {[]byte(completionScript), 0o755}}
	root := cli.NewCommand(genericiooptions.IOStreams{})
	for name, write := range map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  root.GenZshCompletion, "powershell": root.GenPowerShellCompletionWithDesc,
		"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		var script bytes.Buffer
		if err := write(&script); err != nil {
			return nil, fmt.Errorf("writing the completion of %s: %w", name, err)
		}
		files["completions/kubectl-akv2k8s."+name] = packedFile{script.Bytes(), 0o644}
	}
	return files, addManualPages(files, created)
}

// addManualPages adds the manual page of each command.
func addManualPages(files map[string]packedFile, created time.Time) error {
	folder, err := os.MkdirTemp("", "akv2k8s-man-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	header := &doc.GenManHeader{Title: "KUBECTL-AKV2K8S", Section: "1", Date: &created, Source: "akv2k8s"}
	if err := doc.GenManTree(cli.NewCommand(genericiooptions.IOStreams{}), header, folder); err != nil {
		return fmt.Errorf("writing the manual pages: %w", err)
	}
	pages, err := filepath.Glob(filepath.Join(folder, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(filepath.Base(page), " ", "-")
		files["man/"+name] = packedFile{content, 0o644}
	}
	return nil
}

// packFiles returns an archive whose bytes only depend on the files and the time.
func packFiles(files map[string]packedFile, on platform, created time.Time) ([]byte, error) {
	var out bytes.Buffer
	add, finish := tarWriter(&out, created)
	if on.os == "windows" {
		add, finish = zipWriter(&out, created)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := add(name, files[name]); err != nil {
			return nil, err
		}
	}
	err := finish()
	return out.Bytes(), err
}

func tarWriter(out io.Writer, created time.Time) (add func(string, packedFile) error, finish func() error) {
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	add = func(name string, f packedFile) error {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: f.mode, Size: int64(len(f.content)),
			ModTime: created.UTC(), Format: tar.FormatUSTAR})
		if err != nil {
			return err
		}
		_, err = archive.Write(f.content)
		return err
	}
	finish = func() error {
		if err := archive.Close(); err != nil {
			return err
		}
		return compressed.Close()
	}
	return add, finish
}

func zipWriter(out io.Writer, created time.Time) (add func(string, packedFile) error, finish func() error) {
	archive := zip.NewWriter(out)
	add = func(name string, f packedFile) error {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: created.UTC()})
		if err != nil {
			return err
		}
		_, err = w.Write(f.content)
		return err
	}
	return add, archive.Close
}

// krewManifest returns the manifest by which krew installs the command line.
func krewManifest(version string, sums map[platform]string) ([]byte, error) {
	const release = "https://github.com/akv2k8s/akv2k8s/releases/download/v"
	var entries []any
	for _, on := range platforms() {
		entries = append(entries, map[string]any{
			"selector": map[string]any{"matchLabels": map[string]any{"os": on.os, "arch": on.arch}},
			"uri":      release + version + "/" + on.archive(), "sha256": sums[on], "bin": on.program(),
		})
	}
	return yaml.Marshal(map[string]any{
		"apiVersion": "krew.googlecontainertools.github.com/v1alpha2", "kind": "Plugin",
		"metadata": map[string]any{"name": "akv2k8s"},
		"spec": map[string]any{"version": "v" + version, "homepage": "https://github.com/akv2k8s/akv2k8s",
			"shortDescription": "Work with Azure Key Vault secrets of akv2k8s",
			"description": "Converts manifests of External Secrets Operator, of the Secrets Store CSI Driver and of other\n" +
				"products into AzureKeyVaultSecrets, and helps to operate akv2k8s.\n",
			"platforms": entries},
	})
}
