package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/cluster/image"
	"github.com/akv2k8s/akv2k8s/tests/run/plugin"
	"github.com/akv2k8s/akv2k8s/tests/sbom"
)

// pack writes what a release consists of into dist, all of which is equal for equal sources: an archive of each image
// for this machine, an index of each for every architecture, with and without the FIPS 140-3 module, the chart, an SPDX
// document of each image, the command line for every platform, and the texts of licences.
func pack(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	p := packer{shop: shop, dist: filepath.Join(shop.Root, "dist"), out: out}
	for _, write := range []func(context.Context) error{p.writeArchives, p.writeIndexes, p.writePlugin, p.packageChart,
		p.writeProvenance, p.writeLicences} {
		if err := write(ctx); err != nil {
			return err
		}
	}
	return nil
}

// packer writes the parts of a release.
type packer struct {
	shop build.Builder
	dist string
	out  io.Writer
	// chartOnly says that the release has no images.
	chartOnly bool
}

// flavors are the ways in which each image is built: as it is, and with the FIPS 140-3 module.
func flavors() []bool { return []bool{false, true} }

// suffix ends the names of what belongs to a flavor, such as the tag of its images.
func suffix(fips bool) string {
	if fips {
		return image.FIPSSuffix
	}
	return ""
}

// maker makes images into a folder. Programs are kept apart from what is released.
func (p packer) maker(into string) (image.Maker, error) {
	programs := filepath.Join(p.shop.Cache, "programs")
	for _, folder := range []string{into, programs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return image.Maker{}, err
		}
	}
	return image.Maker{Root: p.shop.Root, Into: into, Programs: programs, Progress: p.out}, nil
}

func (p packer) writeArchives(ctx context.Context) error {
	maker, err := p.maker(p.dist)
	if err != nil {
		return err
	}
	archives, err := maker.Release(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		fmt.Fprintln(p.out, name, "is in", archives[name])
	}
	return nil
}

// writeIndexes writes the indexes, and an SPDX document beside each.
func (p packer) writeIndexes(ctx context.Context) error {
	for _, fips := range flavors() {
		if err := p.writeFlavor(ctx, fips); err != nil {
			return err
		}
	}
	return nil
}

func (p packer) writeFlavor(ctx context.Context, fips bool) error {
	maker, err := p.maker(filepath.Join(p.dist, "images"))
	if err != nil {
		return err
	}
	maker.FIPS = fips
	folders, err := maker.Indexes(ctx)
	if err != nil {
		return err
	}
	version, err := maker.Version()
	if err != nil {
		return err
	}
	created, err := p.commitTime(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(p.dist, "sbom"), 0o755); err != nil {
		return err
	}
	for _, program := range image.Shipped() {
		digest, err := digestOf(folders[program.Image])
		if err != nil {
			return err
		}
		modules, err := sbom.Modules(ctx, p.shop.Root, program.Paths()...)
		if err != nil {
			return err
		}
		described := sbom.Image{Name: image.Repository + program.Image, Version: version + suffix(fips), Digest: digest,
			Created: created, Modules: modules}
		path := filepath.Join(p.dist, "sbom", program.Image+suffix(fips)+".spdx.json")
		if err := writeFile(path, func(to io.Writer) error { return sbom.WriteSPDX(to, described) }); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "%s:%s is %s\n", described.Name, described.Version, digest)
	}
	return nil
}

// writePlugin writes the command line for each platform.
func (p packer) writePlugin(ctx context.Context) error {
	version, err := image.Maker{Root: p.shop.Root}.Version()
	if err != nil {
		return err
	}
	created, err := p.commitTime(ctx)
	if err != nil {
		return err
	}
	return plugin.Packer{Root: p.shop.Root, Dist: p.dist, Cache: p.shop.Cache, Version: version, Created: created,
		Out: p.out}.Write(ctx)
}

// commitTime is when the last commit was made.
func (p packer) commitTime(ctx context.Context) (time.Time, error) {
	cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
	cmd.Dir = p.shop.Root
	out, err := cmd.Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("asking git for the time of the last commit: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0), err
}

// digestOf is the digest of the one index in a folder of OCI's image layout.
func digestOf(folder string) (string, error) {
	index, err := indexOf(folder)
	if err != nil {
		return "", err
	}
	digest, err := index.Digest()
	return digest.String(), err
}

func (p packer) packageChart(ctx context.Context) error {
	helm, err := p.shop.Tool(ctx, "helm")
	if err != nil {
		return err
	}
	return command(ctx, p.shop.Root, p.out, helm, "package", "charts/akv2k8s", "--destination", p.dist)
}

// writeLicences refuses what may not be shipped, and writes the texts of the others.
func (p packer) writeLicences(ctx context.Context) error {
	packages := []string{plugin.Package}
	for _, program := range image.Shipped() {
		packages = append(packages, program.Paths()...)
	}
	modules, err := sbom.Modules(ctx, p.shop.Root, packages...)
	if err != nil {
		return err
	}
	if err := sbom.Refuse(modules); err != nil {
		return err
	}
	path := filepath.Join(p.dist, "third-party-licenses.txt")
	return writeFile(path, func(to io.Writer) error { return sbom.WriteLicences(to, modules) })
}

// writeFile writes a file whole, or gives an error.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return file.Close()
}
