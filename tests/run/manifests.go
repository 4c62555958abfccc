package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// variant is an installation for users without Helm.
type variant struct {
	namespaceLabels string
	values          []string
}

func variants() map[string]variant {
	return map[string]variant{
		"default":    {},
		"namespaced": {values: []string{"watchAllNamespaces=false"}},
		"restricted": {namespaceLabels: "{pod-security.kubernetes.io/enforce: restricted}",
			values: []string{"global.keyVaultAuth=environment",
				"global.envFromSecret[0]=azure-credentials", "controller.networkPolicy.enabled=true",
				"env_injector.networkPolicy.enabled=true"}},
	}
}

// manifests writes the product as static manifests into dist/manifests. Hooks are Helm's, so there are none.
func manifests(ctx context.Context, getenv func(string) string, out io.Writer) error {
	shop, err := workshop(getenv, out)
	if err != nil {
		return err
	}
	helm, err := shop.Tool(ctx, "helm")
	if err != nil {
		return err
	}
	dist := filepath.Join(shop.Root, "dist", "manifests")
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for name, v := range variants() {
		args := []string{"template", "akv2k8s", "charts/akv2k8s", "--namespace", "akv2k8s", "--include-crds",
			"--no-hooks"}
		for _, value := range v.values {
			args = append(args, "--set", value)
		}
		path := filepath.Join(dist, "akv2k8s-"+name+".yaml")
		if err := manifest(path, v, func(to io.Writer) error {
			return command(ctx, shop.Root, to, helm,
				args...)
		}); err != nil {
			return err
		}
		fmt.Fprintln(out, "the manifests", name, "are in", path)
	}
	return nil
}

func manifest(path string, v variant, render func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	labels := v.namespaceLabels
	if labels == "" {
		labels = "{}"
	}
	fmt.Fprintf(file, "# akv2k8s for users without Helm: kubectl apply --server-side -f %s\n", filepath.Base(path))
	fmt.Fprintf(file, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: akv2k8s\n  labels: %s\n", labels)
	if err := render(file); err != nil {
		_ = file.Close()
		return fmt.Errorf("rendering %s: %w", filepath.Base(path), err)
	}
	return file.Close()
}
