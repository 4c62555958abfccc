package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
	"github.com/akv2k8s/akv2k8s/tests/run/kubescore"
)

// lint looks at the code, the workflows, the chart and what it renders.
func lint(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	if err := shop.CheckPackages(ctx); err != nil {
		return err
	}
	if err := checkWords(ctx, shop); err != nil {
		return err
	}
	for _, call := range [][]string{
		{"golangci-lint", "run", "--build-tags=cluster", "./..."},
		// Without the linters of scripts, which some machines have and others have not.
		{"actionlint", "-shellcheck=", "-pyflakes="},
		{"helm", "lint", "--strict", "charts/akv2k8s"},
	} {
		if err := tool(ctx, shop, out, call...); err != nil {
			return err
		}
	}
	if err := lintTerratest(ctx, shop, out); err != nil {
		return err
	}
	if err := command(ctx, shop.Root, out, "yamllint", "--strict", "--config-file", ".yamllint.yaml", "charts",
		"examples", "ct.yaml", ".github"); err != nil {
		return err
	}
	if err := lintChart(ctx, shop); err != nil {
		return err
	}
	return kubescore.Check(ctx, func(ctx context.Context, out io.Writer, call ...string) error {
		return tool(ctx, shop, out, call...)
	})
}

// lintTerratest runs the linters on the module of terratest, which has dependencies of its own.
func lintTerratest(ctx context.Context, shop build.Builder, out io.Writer) error {
	linter, err := shop.Tool(ctx, "golangci-lint")
	if err != nil {
		return err
	}
	return command(ctx, filepath.Join(shop.Root, "tests/terratest"), out, linter, "run", "--config=../../.golangci.yml",
		"--build-tags=cluster", "./...")
}

// lintChart runs chart-testing: helm lint with each file of charts/akv2k8s/ci, and yamllint. Its schema of Chart.yaml
// needs yamale, which no Debian package brings; helm lint --strict checks that file, and the workflow has yamale.
func lintChart(ctx context.Context, shop build.Builder) error {
	ct, err := shop.Tool(ctx, "ct")
	if err != nil {
		return err
	}
	helm, err := shop.Tool(ctx, "helm")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, ct, "lint", "--all", "--config", "ct.yaml", "--validate-chart-schema=false")
	cmd.Dir, cmd.Env = shop.Root, append(os.Environ(),
		"PATH="+filepath.Dir(helm)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if printed, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ct lint: %w\n%s", err, printed)
	}
	return nil
}

// tool builds a program of tests/tools, if that was not done yet, and runs it.
func tool(ctx context.Context, shop build.Builder, out io.Writer, call ...string) error {
	program, err := shop.Tool(ctx, call[0])
	if err != nil {
		return err
	}
	return command(ctx, shop.Root, out, program, call[1:]...)
}
