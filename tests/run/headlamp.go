package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// headlampNode is the oldest version of Node.js on which the kit of Headlamp's plugins runs.
const headlampNode = "20.11"

// headlamp checks and builds the plugin of Headlamp, into plugins/headlamp/dist.
func headlamp(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	if err := shop.SitePackages(ctx); err != nil {
		return err
	}
	if err := requireNode(ctx); err != nil {
		return err
	}
	folder := filepath.Join(shop.Root, "plugins", "headlamp")
	if err := npmPackages(ctx, shop, folder, out); err != nil {
		return err
	}
	for _, script := range []string{"lint", "tsc", "test", "build"} {
		if err := command(ctx, folder, out, "env", "CI=true", "npm", "run", "--silent", script); err != nil {
			return err
		}
	}
	return nil
}

// requireNode returns an error if Node.js is too old.
func requireNode(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w; install Node.js %s or later", err, headlampNode)
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	if !isNodeRecent(version) {
		return fmt.Errorf("the kit of Headlamp's plugins needs Node.js %s, and node is %s; install a later version",
			headlampNode, version)
	}
	return nil
}

// isNodeRecent reports whether a version, such as 20.20.2, is headlampNode or later.
func isNodeRecent(version string) bool {
	oldest, parts := strings.Split(headlampNode, "."), strings.Split(version, ".")
	for i, text := range oldest {
		if i >= len(parts) {
			return false
		}
		wanted, _ := strconv.Atoi(text) // a constant
		is, err := strconv.Atoi(parts[i])
		if err != nil || is < wanted {
			return false
		}
		if is > wanted {
			return true
		}
	}
	return true
}
