package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/akv2k8s/akv2k8s/src/wire"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
)

// imageBytes is the most that a node pulls for one image, compressed.
const imageBytes = 40 << 20

// releaseDryRun does what a release does, but for pushing and signing: it writes everything into dist, and checks it.
func releaseDryRun(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	p := packer{shop: shop, dist: filepath.Join(shop.Root, "dist"), out: out, chartOnly: getenv("RELEASE") == "chart"}
	if err := os.RemoveAll(p.dist); err != nil { // nothing of an earlier build belongs to this release
		return err
	}
	if err := pack(ctx, getenv, out); err != nil {
		return err
	}
	if err := manifests(ctx, getenv, out); err != nil {
		return err
	}
	for _, do := range []func(context.Context) error{p.writeNotes, p.checkProvenance, p.copyAssets, p.checkSizes,
		p.checkReproducible, p.checkPrograms} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "the release is in", p.dist)
	return nil
}

// copyAssets copies what users download from a release into one folder, with the checksums of all.
func (p packer) copyAssets(context.Context) error {
	to := filepath.Join(p.dist, "release")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	var sums []string
	patterns := []string{"dist/akv2k8s-*.tgz", "dist/manifests/*.yaml", "charts/akv2k8s/crds/*.yaml",
		"charts/akv2k8s/values.schema.json", "values-schemas/*.json", "schemas/*.json"}
	if !p.chartOnly { // else the images are those of an earlier release, which has these
		patterns = append(patterns, "dist/sbom/*.spdx.json", "dist/third-party-licenses.txt", "dist/plugin/*")
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(p.shop.Root, pattern))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("the release lacks %s", pattern)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name := filepath.Base(file)
			if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
				return err
			}
			sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name))
		}
	}
	return os.WriteFile(filepath.Join(to, "SHA256SUMS"), []byte(strings.Join(sums, "")), 0o644)
}

// writeNotes writes the part of the CHANGELOG that is about the version; before a release, what is unreleased.
func (p packer) writeNotes(context.Context) error {
	content, err := os.ReadFile(filepath.Join(p.shop.Root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	version, err := image.Maker{Root: p.shop.Root}.Version()
	if err != nil {
		return err
	}
	text, err := releaseNotes(string(content), version)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dist, "release-notes.md"), []byte(text), 0o644)
}

// section is the heading of a version in the CHANGELOG.
var section = regexp.MustCompile(`(?m)^## \[([^\]]+)\].*$`)

func releaseNotes(changelog, version string) (string, error) {
	headings := section.FindAllStringSubmatchIndex(changelog, -1)
	for _, wanted := range []string{version, "Unreleased"} {
		for i, h := range headings {
			if changelog[h[2]:h[3]] != wanted {
				continue
			}
			end := len(changelog)
			if i+1 < len(headings) {
				end = headings[i+1][0]
			}
			text := strings.TrimSpace(changelog[h[1]:end])
			if text == "" {
				return "", fmt.Errorf("CHANGELOG.md says nothing about %s; write what changed", wanted)
			}
			return text + "\n", nil
		}
	}
	return "", fmt.Errorf("CHANGELOG.md has neither a heading [%s] nor [Unreleased]; add one", version)
}

// eachImage calls a function for every image and architecture of the release.
func (p packer) eachImage(visit func(name string, platform *v1.Platform, img v1.Image) error) error {
	for _, fips := range flavors() {
		for _, program := range image.Shipped() {
			if err := p.eachPlatform(program.Image+suffix(fips), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p packer) eachPlatform(name string, visit func(name string, platform *v1.Platform, img v1.Image) error) error {
	index, err := indexOf(filepath.Join(p.dist, "images", name))
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, described := range manifest.Manifests {
		img, err := index.Image(described.Digest)
		if err != nil {
			return err
		}
		if err := visit(name, described.Platform, img); err != nil {
			return err
		}
	}
	return nil
}

// indexOf is the one index in a folder of OCI's image layout.
func indexOf(folder string) (v1.ImageIndex, error) {
	path, err := layout.FromPath(folder)
	if err != nil {
		return nil, err
	}
	outer, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images, not one", folder, len(manifest.Manifests))
	}
	return outer.ImageIndex(manifest.Manifests[0].Digest)
}

// checkSizes prints the size of each image, and refuses one that is too large or may run as root.
func (p packer) checkSizes(context.Context) error {
	return p.eachImage(func(name string, platform *v1.Platform, img v1.Image) error {
		manifest, err := img.Manifest()
		if err != nil {
			return err
		}
		var size int64
		for _, layer := range manifest.Layers {
			size += layer.Size
		}
		fmt.Fprintf(p.out, "image %s %s: %.1f MiB\n", name, platform, float64(size)/(1<<20))
		if size > imageBytes {
			return fmt.Errorf("the image %s for %s has %d bytes, more than %d", name, platform, size, imageBytes)
		}
		config, err := img.ConfigFile()
		if err != nil {
			return err
		}
		if config.Config.User == "" || strings.HasPrefix(config.Config.User, "0") {
			return fmt.Errorf("the image %s for %s runs as root", name, platform)
		}
		if config.Architecture != platform.Architecture {
			return fmt.Errorf("the image %s says %s in its index and %s in its configuration", name, platform,
				config.Architecture)
		}
		return nil
	})
}

// checkReproducible builds the images again from a copy of the sources in another folder, and compares the digests.
func (p packer) checkReproducible(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "akv2k8s-again-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	for _, part := range []string{"go.mod", "go.sum", "src", "charts"} {
		if err := command(ctx, p.shop.Root, p.out, "cp", "-r", part, filepath.Join(folder, part)); err != nil {
			return err
		}
	}
	into := filepath.Join(folder, "images")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	var differ []error
	for _, fips := range flavors() {
		again, err := image.Maker{Root: folder, Into: into, Programs: folder, Progress: p.out, FIPS: fips}.Indexes(ctx)
		if err != nil {
			return err
		}
		for _, other := range again {
			differ = append(differ, p.compareDigest(other))
		}
	}
	return errors.Join(differ...)
}

// compareDigest compares an image that was built elsewhere with that of the release.
func (p packer) compareDigest(other string) error {
	name := filepath.Base(other)
	first, err := digestOf(filepath.Join(p.dist, "images", name))
	if err != nil {
		return err
	}
	second, err := digestOf(other)
	if err != nil {
		return err
	}
	if first != second {
		return fmt.Errorf("the image %s is %s, and %s when it is built again elsewhere", name, first, second)
	}
	fmt.Fprintf(p.out, "image %s: built twice, equal: %s\n", name, first)
	return nil
}

// emulators run the programs of an architecture that this machine does not have; they are Debian's qemu-user-static.
func emulators() map[string]string {
	return map[string]string{"amd64": "/usr/bin/qemu-x86_64-static", "arm64": "/usr/bin/qemu-aarch64-static"}
}

// checkPrograms starts each program of every architecture, under an emulator where this machine has another, and lets
// the injector replace itself by a program of this machine.
func (p packer) checkPrograms(ctx context.Context) error {
	if err := p.shop.ReleasePackages(ctx); err != nil {
		return err
	}
	for _, program := range image.Shipped() {
		for _, pkg := range program.Packages {
			for _, fips := range flavors() {
				for _, arch := range image.Architectures() {
					maker := image.Maker{FIPS: fips}
					if err := p.checkProgram(ctx, filepath.Join(p.shop.Cache, "programs", maker.ProgramFile(pkg, arch)),
						arch, fips); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (p packer) checkProgram(ctx context.Context, path, arch string, fips bool) error {
	if err := checkStatic(path); err != nil {
		return err
	}
	if err := checkCryptography(path, fips); err != nil {
		return err
	}
	return p.startProgram(ctx, path, arch)
}

// checkCryptography refuses a program that has, or lacks, the FIPS 140-3 module against its flavor.
func checkCryptography(path string, fips bool) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	on := slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "DefaultGODEBUG" && slices.Contains(strings.Split(s.Value, ","), "fips140=on")
	})
	if on != fips {
		return fmt.Errorf("%s runs with the FIPS 140-3 module: %t, want %t", path, on, fips)
	}
	return nil
}

// checkStatic refuses a program that needs libraries, which the images have none of.
func checkStatic(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static", path)
		}
	}
	return nil
}

// startProgram runs a program for its version. The injector is also run as in pods: as the program of the init
// container, which copies itself, and in front of a program that it has to become.
func (p packer) startProgram(ctx context.Context, path, arch string) error {
	calls := []startCall{{args: []string{path, "--version"}, prints: "2"}}
	if strings.HasPrefix(filepath.Base(path), "azure-keyvault-env") {
		folder, err := os.MkdirTemp("", "copy")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		calls = []startCall{{args: []string{path, "version"}, prints: "2"},
			{args: []string{path, "copy", folder}, copiesTo: filepath.Join(folder, filepath.Base(wire.InjectorPath))},
			{args: []string{wire.InjectorPath, "/bin/echo", "became echo"}, prints: "became echo"}}
	}
	for _, call := range calls {
		cmd := exec.CommandContext(ctx, path)
		cmd.Args = call.args
		if arch != runtime.GOARCH {
			args := append([]string{"-0", call.args[0], path}, call.args[1:]...)
			cmd = exec.CommandContext(ctx, emulators()[arch], args...)
		}
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if err == nil && call.copiesTo != "" {
			err = compareFiles(path, call.copiesTo)
		}
		if err != nil || !strings.Contains(string(out), call.prints) {
			return fmt.Errorf("%s for %s, called as %s, does not start: %w\n%s", filepath.Base(path), arch,
				strings.Join(call.args, " "), err, out)
		}
	}
	fmt.Fprintf(p.out, "%s for %s starts\n", filepath.Base(path), arch)
	return nil
}

// startCall is a program's arguments, beginning with its own name, and what it has to do.
type startCall struct {
	args []string
	// prints is a part of its output.
	prints string
	// copiesTo is where it copies itself; empty if it does not.
	copiesTo string
}

// compareFiles returns an error if two files differ.
func compareFiles(a, b string) error {
	one, errOne := os.ReadFile(a)
	other, errOther := os.ReadFile(b)
	if err := errors.Join(errOne, errOther); err != nil {
		return err
	}
	if !bytes.Equal(one, other) {
		return fmt.Errorf("%s is not %s", b, a)
	}
	return nil
}
