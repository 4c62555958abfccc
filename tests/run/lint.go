package main

import (
	"context"
	"io"

	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
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
	if err := command(ctx, shop.Root, out, "yamllint", "--strict", "--config-file", ".yamllint.yaml", "charts", "examples", "ct.yaml", ".github"); err != nil {
		return err
	}
	return score(ctx, shop)
}

// tool builds a program of tests/tools, if that was not done yet, and runs it.
func tool(ctx context.Context, shop build.Builder, out io.Writer, call ...string) error {
	program, err := shop.Tool(ctx, call[0])
	if err != nil {
		return err
	}
	return command(ctx, shop.Root, out, program, call[1:]...)
}
