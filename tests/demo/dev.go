package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
)

// namespace is where up installs the product, and release its name.
const (
	namespace = "akv2k8s"
	release   = "akv2k8s"
)

// deployments run the images that reload builds; the injector's image runs in pods of users.
func deployments() map[string]string {
	return map[string]string{"controller": release + "-controller", "env-injector": release + "-envinjector", "env": ""}
}

// reload builds the image of a component, loads it into the running demo, and replaces the component's pods.
func reload(ctx context.Context, config bed.Config, component string) error {
	started := time.Now()
	deployment, ok := deployments()[component]
	if !ok {
		return fmt.Errorf("COMPONENT=%s is not known; use controller, env-injector or env", component)
	}
	if config.Getenv("CLUSTER") == "current" {
		return errors.New("a cluster of yours keeps the image that it has pulled; push a tag of your own, and set " +
			"controller.image.tag or env_injector.image.tag")
	}
	cluster, err := running(ctx, config)
	if err != nil {
		return err
	}
	if err := bed.LoadOne(ctx, config, cluster, component); err != nil {
		return err
	}
	if deployment == "" {
		fmt.Fprintf(config.Progress, "loaded in %.0fs; pods that are created from now on have it\n",
			time.Since(started).Seconds())
		return nil
	}
	for _, args := range [][]string{{"rollout", "restart", "deployment", deployment},
		{"rollout", "status", "deployment", deployment, "--timeout=60s"}} {
		if err := kubectl(ctx, config, cluster, args...); err != nil {
			return err
		}
	}
	fmt.Fprintf(config.Progress, "reloaded %s in %.0fs\n", component, time.Since(started).Seconds())
	return nil
}

// logs follows the logs of both components until it is interrupted.
func logs(ctx context.Context, config bed.Config) error {
	cluster, err := running(ctx, config)
	if err != nil {
		return err
	}
	err = kubectl(ctx, config, cluster, "logs", "--follow", "--prefix", "--all-containers", "--max-log-requests=20",
		"--tail=100",
		"--selector=app.kubernetes.io/instance="+release)
	if err != nil && ctx.Err() == nil { // an interruption is how it ends
		return err
	}
	return nil
}

// running opens the demo's cluster, which has to be up.
func running(ctx context.Context, config bed.Config) (bed.Cluster, error) {
	cluster, err := bed.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	if status := cluster.Status(ctx); !strings.HasPrefix(status, "up") {
		return nil, fmt.Errorf("the demo does not run (%s); start it by make demo", status)
	}
	return cluster, nil
}

// kubectl runs kubectl in the product's namespace.
func kubectl(ctx context.Context, config bed.Config, cluster bed.Cluster, args ...string) error {
	program := "kubectl"
	if folder := cluster.Programs(ctx); folder != "" {
		program = filepath.Join(folder, program)
	}
	all := slices.Concat([]string{"--namespace", namespace}, args)
	cmd := exec.CommandContext(ctx, program, all...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig())
	cmd.Stdout, cmd.Stderr = config.Progress, config.Progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(all, " "), err)
	}
	return nil
}
