package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/cluster/build"
)

// chore is a part of check that is no test.
type chore func(ctx context.Context, getenv func(string) string, out io.Writer) error

func chores() map[string]chore {
	return map[string]chore{"lint": lint, "generate": generate, "verify": verify}
}

func code(err error, out io.Writer) int {
	if err != nil {
		fmt.Fprintln(out, "error:", err)
		return 1
	}
	return 0
}

// workshop finds the repository and builds tools.
func workshop(getenv func(string) string, out io.Writer) (build.Builder, error) {
	folder, err := os.Getwd()
	if err != nil {
		return build.Builder{}, err
	}
	root, err := bed.Root(folder)
	if err != nil {
		return build.Builder{}, err
	}
	cache, err := bed.Config{Getenv: getenv}.Cache()
	return build.Builder{Root: root, Cache: cache, Progress: out}, err
}

// command runs a program in a folder and shows its output.
func command(ctx context.Context, folder string, out io.Writer, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(program), strings.Join(args, " "), err)
	}
	return nil
}

func lint(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	golangci, err := shop.Tool(ctx, "golangci-lint")
	if err != nil {
		return err
	}
	helm, err := shop.Tool(ctx, "helm")
	if err != nil {
		return err
	}
	if err := command(ctx, shop.Root, out, golangci, "run", "--build-tags=cluster", "./..."); err != nil {
		return err
	}
	return command(ctx, shop.Root, out, helm, "lint", "--strict", "charts/akv2k8s")
}

func generate(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	return generateIn(ctx, shop, shop.Root, out)
}

// generateIn writes what is generated into a copy of the repository or the repository itself.
func generateIn(ctx context.Context, shop build.Builder, root string, out io.Writer) error {
	generator, err := shop.Tool(ctx, "controller-gen")
	if err != nil {
		return err
	}
	if err := command(ctx, root, out, generator, "object", "paths=./src/api/..."); err != nil {
		return err
	}
	return command(ctx, root, out, generator, "crd", "paths=./src/api/...", "output:crd:artifacts:config=charts/akv2k8s/crds")
}

// generated are the files that generate writes, as patterns from the root.
func generated() []string {
	return []string{"src/api/*/zz_generated.deepcopy.go", "charts/akv2k8s/crds/*.yaml"}
}

// verify generates in a copy without the generated files, and compares.
func verify(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "akv2k8s-verify-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	for _, part := range []string{"go.mod", "go.sum", "src/api"} {
		to := filepath.Join(scratch, part)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := command(ctx, shop.Root, out, "cp", "-r", part, to); err != nil {
			return err
		}
	}
	if err := clear(scratch); err != nil {
		return err
	}
	if err := generateIn(ctx, shop, scratch, out); err != nil {
		return err
	}
	if stale := differences(shop.Root, scratch); len(stale) > 0 {
		return fmt.Errorf("not as generated: %s; run make generate", strings.Join(stale, ", "))
	}
	return nil
}

// clear removes the generated files.
func clear(root string) error {
	for _, pattern := range generated() {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// differences are the generated files that differ, or are in one of the two only.
func differences(a, b string) []string {
	var stale []string
	seen := map[string]bool{}
	for _, root := range []string{a, b} {
		for _, pattern := range generated() {
			files, _ := filepath.Glob(filepath.Join(root, pattern))
			for _, file := range files {
				name, _ := filepath.Rel(root, file)
				if seen[name] {
					continue
				}
				seen[name] = true
				left, errLeft := os.ReadFile(filepath.Join(a, name))
				right, errRight := os.ReadFile(filepath.Join(b, name))
				if errLeft != nil || errRight != nil || !bytes.Equal(left, right) {
					stale = append(stale, name)
				}
			}
		}
	}
	return stale
}
