//go:build cluster

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/akv2k8s/akv2k8s/tests/cluster/bed"
	"github.com/akv2k8s/akv2k8s/tests/stage"
)

// s is the stage that all tests share; each test has a namespace of its own.
var s *stage.Stage

// interval is how often the installation looks at the vault, in seconds.
const interval = 5

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := os.Getwd()
	if err == nil {
		folder, err = bed.Root(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "progress: finding the repository:", err)
		return 1
	}
	config := bed.Config{Root: folder, Name: "e2e", Getenv: os.Getenv, Progress: stage.Progress(os.Stdout)}
	s, err = stage.Open(ctx, config)
	if s != nil && os.Getenv("KEEP") == "" { // KEEP=1 leaves the cluster for looking around
		defer func() {
			if err := s.Cluster.Down(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintln(os.Stdout, "progress: taking the cluster down:", err)
			}
		}()
	}
	if err == nil {
		err = s.Install(ctx, stage.Release{Name: "akv2k8s", Namespace: "akv2k8s", Values: map[string]any{
			"controller":                map[string]any{"rolloutRestart": map[string]any{"enabled": true, "window": fmt.Sprintf("%ds", window)}},
			"azureKeyVaultResyncPeriod": interval, "global": map[string]any{"metrics": map[string]any{"enabled": true}},
		}})
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "progress: setting the stage:", err)
		return 1
	}
	return m.Run()
}
