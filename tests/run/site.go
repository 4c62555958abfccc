package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

// site builds the documentation's site into dist/site, below the path SITE_BASE, and follows its links.
func site(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	if err := shop.SitePackages(ctx); err != nil {
		return err
	}
	folder := filepath.Join(shop.Root, "site")
	if err := npmPackages(ctx, shop, folder, out); err != nil {
		return err
	}
	return command(ctx, folder, out, "npm", "run", "--silent", "build")
}

// npmPackages installs the npm packages of a folder's lock file, unless they are installed already. Their scripts don't
// run.
func npmPackages(ctx context.Context, shop build.Builder, folder string, out io.Writer) error {
	locked, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return err
	}
	installed := filepath.Join(folder, "node_modules", "installed-lock.json")
	if before, err := os.ReadFile(installed); err == nil && bytes.Equal(before, locked) {
		return nil
	}
	if err := command(ctx, folder, out, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
		"--cache", filepath.Join(shop.Cache, "npm")); err != nil {
		return fmt.Errorf("%w; it downloads the packages of %s/package-lock.json from https://registry.npmjs.org: "+
			"allow that, or name a mirror by npm config set registry URL", err, folder)
	}
	return os.WriteFile(installed, locked, 0o644)
}
