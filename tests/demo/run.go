package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

const usage = `usage: go run ./tests/demo up|down|reload COMPONENT|logs

  up      a cluster, the emulator of Azure, the product, and two examples; a second time it changes nothing
  down    remove every trace
  reload  build a component (controller, env-injector or env) and replace it in the running demo
  logs    follow the logs of both components

CLUSTER=kind|current|local chooses the kind of cluster.
`

// vault is what the examples refer to; its values are not secret.
const vault = "akv2k8s-example"

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) int {
	command := commands()[strings.Join(args[:min(1, len(args))], "")]
	if command == nil || len(args) > 2 || (len(args) == 2) != (args[0] == "reload") {
		fmt.Fprint(out, usage)
		return 2
	}
	folder, err := os.Getwd()
	if err == nil {
		folder, err = bed.Root(folder)
	}
	if err == nil {
		err = command(ctx, bed.Config{Root: folder, Name: "demo", Getenv: getenv, Progress: out}, args[1:])
	}
	if err != nil {
		fmt.Fprintln(out, "error:", err)
		return 1
	}
	return 0
}

// commands are what run can be told to do.
func commands() map[string]func(ctx context.Context, config bed.Config, args []string) error {
	return map[string]func(context.Context, bed.Config, []string) error{
		"up":     func(ctx context.Context, c bed.Config, _ []string) error { return up(ctx, c) },
		"down":   func(ctx context.Context, c bed.Config, _ []string) error { return down(ctx, c) },
		"reload": func(ctx context.Context, c bed.Config, args []string) error { return reload(ctx, c, args[0]) },
		"logs":   func(ctx context.Context, c bed.Config, _ []string) error { return logs(ctx, c) },
	}
}

func up(ctx context.Context, config bed.Config) error {
	started := time.Now()
	s, err := stage.Open(ctx, config)
	if err != nil {
		return err
	}
	if err := s.Azure.Vault(ctx, vault,
		map[string]string{"database-password": "correct horse battery staple", "api-key": "open sesame"}); err != nil {
		return err
	}
	if err := s.Install(ctx, stage.Release{Name: release, Namespace: namespace}); err != nil {
		return err
	}
	for _, example := range []string{"secret-sync", "env-injection"} {
		manifest, err := os.ReadFile(filepath.Join(config.Root, "examples", example, "resources.yaml"))
		if err != nil {
			return err
		}
		if err := s.Apply(ctx, "default", string(manifest)); err != nil {
			return err
		}
	}
	secret, err := synced(ctx, s)
	if err != nil {
		return err
	}
	log, err := injected(ctx, s)
	if err != nil {
		return err
	}
	s.Say(`
Done in %.0fs.

The vault %s (emulated) has a secret database-password. examples/secret-sync made of it
  Secret example-secret-sync/database:  password = %s
It has a secret api-key. examples/env-injection gave it to a pod, which printed
  %s

Look around:
  export KUBECONFIG=%s%s
  kubectl get akvs -A
  kubectl -n example-env-injection get pods -o yaml | grep azurekeyvault
Remove every trace: make demo-down`, time.Since(started).Seconds(), vault, secret, log, s.Cluster.Kubeconfig(),
		path(s.Cluster.Programs(ctx)))
	return nil
}

// path is the line that makes kubectl known, if the cluster brought its own.
func path(programs string) string {
	if programs == "" {
		return ""
	}
	return "\n  export PATH=$PATH:" + programs
}

// synced waits for the Secret of the first example.
func synced(ctx context.Context, s *stage.Stage) (string, error) {
	var secret corev1.Secret
	err := stage.Await(ctx, time.Minute, "the synced Secret", func(ctx context.Context) error {
		return s.Client.Get(ctx, types.NamespacedName{Namespace: "example-secret-sync", Name: "database"}, &secret)
	})
	return string(secret.Data["password"]), err
}

// injected waits for what the pod of the second example printed.
func injected(ctx context.Context, s *stage.Stage) (string, error) {
	var printed string
	err := stage.Await(ctx, 2*time.Minute, "the pod's log", func(ctx context.Context) error {
		logs, err := s.Logs(ctx, "example-env-injection")
		if err != nil {
			return err
		}
		for name, log := range logs {
			if strings.Contains(name, "/app/") && strings.Contains(log, "API_KEY is ") {
				printed = strings.TrimSpace(log)
				return nil
			}
		}
		return errors.New("nothing was printed")
	})
	return printed, err
}

// down removes the cluster, or what was put into one that is not ours to remove.
func down(ctx context.Context, config bed.Config) error {
	cluster, err := bed.Open(ctx, config)
	if err != nil {
		return err
	}
	if config.Getenv("CLUSTER") == "current" {
		if err := clean(ctx, config); err != nil {
			return err
		}
	}
	return cluster.Down(ctx)
}

func clean(ctx context.Context, config bed.Config) error {
	s, err := stage.Open(ctx, config)
	if err != nil {
		return err
	}
	if _, err := s.Helm(ctx, "uninstall", release, "--namespace", namespace, "--ignore-not-found",
		"--wait"); err != nil {
		return err
	}
	for _, name := range []string{"example-secret-sync", "example-env-injection", namespace, "azure-emulator"} {
		object := &corev1.Namespace{}
		object.Name = name
		if err := s.Client.Delete(ctx, object, client.PropagationPolicy("Foreground")); err != nil &&
			!apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
